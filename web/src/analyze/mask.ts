// COCO's run-length masks, read and painted.

import type { Rle } from '../api/inference.ts';

/**
 * Run lengths out of COCO's string: five bits a character from '0' on, a sixth says that more
 * follow, and from the third run on each is the difference to the run two before it.
 */
function runLengths(counts: string): number[] {
  const runs: number[] = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let shift = 0;
    let bits: number;
    do {
      bits = counts.charCodeAt(at++) - 48;
      value |= (bits & 0x1f) << shift;
      shift += 5;
    } while (bits & 0x20);
    if (bits & 0x10) {
      value |= -1 << shift; // a negative difference
    }
    runs.push(runs.length > 2 ? value + (runs[runs.length - 2] as number) : value);
  }
  return runs;
}

/** One byte a pixel, row by row: 1 inside. */
export function decodeMask({ size: [height, width], counts }: Rle): Uint8Array {
  const inside = new Uint8Array(width * height);
  let at = 0; // down the columns
  let value = 0;
  for (const run of runLengths(counts)) {
    for (const end = Math.min(at + run, inside.length); at < end; at++) {
      if (value) {
        inside[(at % height) * width + Math.floor(at / height)] = 1;
      }
    }
    value = 1 - value;
  }
  return inside;
}

type Color = readonly [red: number, green: number, blue: number];

/** The mask as a picture: a tint inside, a line of `line` pixels along its edge. */
export function paintMask(rle: Rle, tint: Color, line: number): HTMLCanvasElement {
  const [height, width] = rle.size;
  const inside = decodeMask(rle);
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d') as CanvasRenderingContext2D;
  const image = context.createImageData(width, height);
  const off = (x: number, y: number): boolean =>
    x < 0 || y < 0 || x >= width || y >= height || !inside[y * width + x];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!off(x, y)) {
        const edge = off(x - line, y) || off(x + line, y) || off(x, y - line) || off(x, y + line);
        image.data.set([...tint, edge ? 255 : 115], (y * width + x) * 4);
      }
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** What the mask shows of the picture, on nothing. */
export async function cutOut(picture: CanvasImageSource, rle: Rle): Promise<Blob> {
  const [height, width] = rle.size;
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d') as CanvasRenderingContext2D;
  context.drawImage(picture, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  decodeMask(rle).forEach((value, at) => {
    if (!value) {
      image.data[at * 4 + 3] = 0;
    }
  });
  context.putImageData(image, 0, 0);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('no PNG'))), 'image/png');
  });
}
