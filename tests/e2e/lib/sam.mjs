// A data folder with ONNX Runtime, the detector and MobileSAM, linked to where they are.

import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { sharedPath } from './server.mjs';

const installed =
  process.env.NEXUS_DATA_DIR ??
  join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share'), 'nexus');

/** Makes the folder; with sam: false, without MobileSAM. Returns its path and how to remove it. */
export function dataFolder({ sam = true } = {}) {
  const path = mkdtempSync(join(tmpdir(), 'nexus-sam-'));
  const models = join(path, 'models');
  mkdirSync(models);
  if (existsSync(join(installed, 'lib'))) {
    symlinkSync(join(installed, 'lib'), join(path, 'lib'));
  }
  symlinkSync(sharedPath('models/yolov8n.onnx'), join(models, 'yolov8n.onnx'));
  if (sam) {
    const folder = join(models, 'mobile-sam', '1');
    mkdirSync(folder, { recursive: true });
    for (const part of ['encoder', 'decoder']) {
      symlinkSync(sharedPath(`models/mobile_sam_${part}.onnx`), join(folder, `${part}.onnx`));
    }
  }
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

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
