// What tests of segmentation share.

import { makeDataDir } from './data_dir.mjs';

/** A data folder with the detector and MobileSAM. */
export const samDataDir = () =>
  makeDataDir({
    'yolov8n.onnx': 'models/yolov8n.onnx',
    'mobile-sam/1/encoder.onnx': 'models/mobile_sam_encoder.onnx',
    'mobile-sam/1/decoder.onnx': 'models/mobile_sam_decoder.onnx',
  });

/** Decodes COCO's compressed run lengths to a flat array of 0 and 1, row by row. */
export function decodeRle({ size: [height, width], counts }) {
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let shift = 0;
    let group;
    do {
      group = counts.charCodeAt(at++) - 48;
      value += (group & 31) * 2 ** shift;
      shift += 5;
    } while (group & 32);
    if (group & 16) {
      value -= 2 ** shift;
    }
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  const pixels = new Uint8Array(width * height);
  let at = 0;
  for (const [i, run] of runs.entries()) {
    for (const end = at + run; at < end; at++) {
      pixels[(at % height) * width + Math.floor(at / height)] = i % 2;
    }
  }
  if (at !== pixels.length) {
    throw new Error(`the runs make ${at} pixels, not ${pixels.length}`);
  }
  return pixels;
}
