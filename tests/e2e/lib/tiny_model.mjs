// A detector that is made here, so small that the decoder is what a video's analysis waits for: it
// finds what is red or blue. Protobuf by hand, as onnx.proto3 has it.

import { writeFileSync } from 'node:fs';

const FLOAT = 1;
const INT64 = 7;

function varint(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 128)) {
    bytes.push((value % 128) | 0x80);
  }
  return Buffer.from([...bytes, value]);
}
const int = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, value) =>
  Buffer.concat([varint(field * 8 + 2), varint(value.length), Buffer.from(value)]);
const message = (field, ...parts) => bytes(field, Buffer.concat(parts));

const valueInfo = (field, name, dims) =>
  message(field, bytes(1, name), message(2, message(1, int(1, FLOAT),
    ...(dims ? [message(2, ...dims.map((dim) => message(1, int(1, dim))))] : []))));
const tensor = (name, type, dims, values) =>
  message(5, ...dims.map((dim) => int(1, dim)), int(2, type), bytes(8, name),
    bytes(9, new Uint8Array(values.buffer)));
const floats = (name, dims, values) => tensor(name, FLOAT, dims, Float32Array.from(values));
const ints = (name, values) => tensor(name, INT64, [values.length], BigInt64Array.from(values));
const list = (name, ...values) =>
  message(5, bytes(1, name), ...values.map((value) => int(8, value)), int(20, 7));
const number = (name, value) => message(5, bytes(1, name), int(3, value), int(20, 2));
const node = (type, inputs, output, ...attributes) =>
  message(1, ...inputs.map((input) => bytes(1, input)), bytes(2, output), bytes(3, output),
    bytes(4, type), ...attributes);

/** How much a square of size x size pixels is red, and how much blue: a convolution for each class. */
function colours(size, sure, side) {
  const weights = [[1, -0.5, -0.5], [-0.5, -0.5, 1]].flatMap((channels) =>
    channels.flatMap((weight) => Array(size * size).fill((sure * weight) / (size * size))));
  const count = BigInt((side / size) ** 2);
  return [
    floats(`weights${size}`, [2, 3, size, size], weights),
    node('Conv', ['images', `weights${size}`], `map${size}`, list('strides', size, size)),
    ints(`shape${size}`, [1n, 2n, count]),
    node('Reshape', [`map${size}`, `shape${size}`], `scores${size}`),
  ];
}

/** The middle, width and height of each square, in YOLOv8's order. */
function boxes(sizes, side) {
  const rows = [[], [], [], []];
  for (const size of sizes) {
    for (let y = size / 2; y < side; y += size) {
      for (let x = size / 2; x < side; x += size) {
        [x, y, size, size].forEach((value, row) => rows[row].push(value));
      }
    }
  }
  return floats('boxes', [1, 4, rows[0].length], rows.flat());
}

/**
 * A YOLOv8 of two classes, what is red and what is blue, on side x side pixels. sure: what its
 * confidences are multiplied with.
 */
export function tinyModel(names = ['red', 'blue'], sure = 1, side = 64) {
  const sizes = [8, 16, 32];
  const graph = message(7,
    ...sizes.flatMap((size) => colours(size, sure, side)),
    boxes(sizes, side),
    node('Concat', sizes.map((size) => `scores${size}`), 'scores', number('axis', 2)),
    node('Concat', ['boxes', 'scores'], 'output', number('axis', 1)),
    bytes(2, 'tiny'),
    valueInfo(11, 'images', [1, 3, side, side]),
    valueInfo(12, 'output'));
  const listed = `{0: '${names[0]}', 1: '${names[1]}'}`;
  const metadata = message(14, bytes(1, 'names'), bytes(2, listed));
  return Buffer.concat([int(1, 8), graph, message(8, int(2, 17)), metadata]);
}

export function writeTinyModel(path, side = 64) {
  writeFileSync(path, tinyModel(undefined, undefined, side));
}
