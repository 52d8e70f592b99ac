// nexus models optimize on the real binary: the head cut in float32, INT8 on a handful of pictures,
// and what it says when it is given nonsense.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { start } from './lib/cli.mjs';
import { sharedPath, skipWithoutShared } from './lib/server.mjs';

const skip = skipWithoutShared();
const yolov8n = sharedPath('models/yolov8n.onnx');
const PICTURES = 12;
const defaultData =
  process.env.NEXUS_DATA_DIR || join(process.env.XDG_DATA_HOME || join(homedir(), '.local/share'), 'nexus');

let folder;
let pictures;
let annotations;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'nexus-optimize-'));
  pictures = join(folder, 'pictures');
  mkdirSync(pictures);
  if (skip) {
    return;
  }
  const names = readdirSync(sharedPath('coco/images')).sort().slice(0, PICTURES);
  for (const name of names) {
    copyFileSync(sharedPath(`coco/images/${name}`), join(pictures, name));
  }
  const all = JSON.parse(readFileSync(sharedPath('coco/instances.json'), 'utf8'));
  const images = all.images.filter((image) => names.includes(image.file_name));
  const ids = new Set(images.map((image) => image.id));
  annotations = join(folder, 'some.json');
  writeFileSync(
    annotations,
    JSON.stringify({
      images,
      categories: all.categories,
      annotations: all.annotations.filter((one) => ids.has(one.image_id)),
    }),
  );
});
after(() => rmSync(folder, { recursive: true, force: true }));

const optimize = (...args) => start(['models', 'optimize', ...args]).ended;

/** What is left beside the files that a test asked for: nothing should be. */
const leftovers = () => readdirSync(folder).filter((name) => /\.onnx\../.test(name));

describe('models optimize', { skip }, () => {
  it('cuts the head without changing a result', async () => {
    const output = join(folder, 'cut.onnx');
    const run = await optimize(
      yolov8n, '-o', output, '--images', pictures, '--annotations', annotations,
      '--rounds', '1', '-f', 'json',
    );
    assert.equal(run.code, 0, run.stderr);
    const report = JSON.parse(run.stdout);
    assert.equal(report.written, true);
    assert.equal(report.dynamic, true);
    assert.equal(report.judged, PICTURES);
    assert.equal(report.reference, 'annotations');
    assert.ok(report.before.ap > 0.3, `AP ${report.before.ap}`);
    assert.ok(Math.abs(report.before.ap - report.after.ap) <= 1e-4, JSON.stringify(report));
    assert.deepEqual(report.speed.map((one) => one.height), [640, 640, 384]);
    assert.ok(report.speed.every((one) => one.run_ms > 0 && one.two_at_once_per_second > 0));

    // the written file in the rest of the program; as in DATA.md, at the picture's own aspect
    const found = await start(['detect', '-m', output, sharedPath('images/bus.jpg'), '-f', 'json']).ended;
    assert.equal(found.code, 0, found.stderr);
    const names = [JSON.parse(found.stdout)].flat()[0].detections.map((one) => one.class_name);
    assert.ok(names.includes('bus'), found.stdout);
    assert.ok(names.filter((name) => name === 'person').length >= 3, found.stdout);
    assert.deepEqual(leftovers(), []);
  });

  for (const signal of ['SIGINT', 'SIGTERM']) {
    it(`leaves nothing behind when ${signal} ends it`, async () => {
      const data = mkdtempSync(join(folder, 'data-'));
      const output = join(folder, `ended-${signal}.onnx`);
      const targets = [['-o', output], ['-n', 'ended', '--data-dir', data]];
      const library = process.env.NEXUS_ORT_LIBRARY || join(defaultData, 'lib/libonnxruntime.so.1');
      for (const target of targets) {
        const { child, ended } = start(
          ['models', 'optimize', yolov8n, '--images', pictures, ...target],
          { env: { NEXUS_ORT_LIBRARY: library } },
        );
        child.stderr.once('data', () => child.kill(signal)); // it has begun, and has a file
        const run = await ended;
        assert.equal(run.signal, signal, run.stderr);
        assert.equal(run.code, null);
      }
      assert.deepEqual(leftovers(), []);
      assert.equal(existsSync(output), false);
      assert.deepEqual(readdirSync(join(data, 'models')), []);
    });
  }

  it('quantises, and judges with pictures that it has not calibrated with', async () => {
    const output = join(folder, 'int8.onnx');
    const run = await optimize(
      yolov8n, '-o', output, '--int8', '--images', pictures, '--rounds', '0', '--force',
    );
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, /On 6 pictures that the calibration has not seen, against the original's own/);
    const change = /change +([-+][\d.]+)/.exec(run.stdout);
    assert.ok(Number(change[1]) > -0.06, run.stdout);
    assert.ok(readFileSync(output).length < readFileSync(yolov8n).length * 0.3);
    const again = await optimize(output, '-o', join(folder, 'twice.onnx'));
    assert.equal(again.code, 3);
    assert.match(again.stderr, /is optimised already \(head cut, sizes free, int8 .* start from the original/);
    assert.deepEqual(leftovers(), []);
  });

  it('takes the pictures of the calibration when only those are given with annotations', async () => {
    const run = await optimize(
      yolov8n, '-o', join(folder, 'annotated.onnx'), '--int8', '--calibrate', pictures,
      '--annotations', annotations, '--rounds', '0', '--force',
    );
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, /On 6 pictures that the calibration has not seen, against their annotations/);
  });

  it('calibrates with a video', async () => {
    const output = join(folder, 'video.onnx');
    const run = await optimize(
      yolov8n, '-o', output, '--int8', '--calibrate', sharedPath('videos/car-detection.mp4'),
      '--limit', '4', '--rounds', '0', '--force',
    );
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, /On 4 pictures/);
    assert.ok(existsSync(output));
  });

  it('leaves out what it cannot read, with a warning', async () => {
    const mixed = join(folder, 'mixed');
    mkdirSync(mixed);
    writeFileSync(join(mixed, '0.jpg'), 'no picture');
    copyFileSync(sharedPath('images/bus.jpg'), join(mixed, '1.jpg'));
    copyFileSync(sharedPath('images/zidane.jpg'), join(mixed, '2.jpg'));
    const run = await optimize(
      yolov8n, '-o', join(folder, 'mixed.onnx'), '--int8', '--calibrate', mixed, '--rounds', '0',
      '--force',
    );
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stderr, /warning: 0\.jpg is left out/);
    assert.match(run.stdout, /On 1 pictures/);
  });

  const refusals = [
    ['a file that is cut short', [sharedPath('models/broken/truncated.onnx')], 3, /is cut short/],
    ['another kind of detector', [sharedPath('models/yolox_nano.onnx')], 3, /has not the head of a YOLOv8/],
    ['a model that is not there', ['none.onnx'], 3, /none\.onnx/],
    ['INT8 without pictures', [yolov8n, '--int8'], 2, /--int8 needs pictures/],
    ['both precisions', [yolov8n, '--int8', '--fp16'], 2, /--int8 or --fp16, not both/],
    ['annotations without pictures', [yolov8n, '--annotations', 'x.json'], 2, /--images DIR/],
    ['annotations of a video', [
      yolov8n, '--int8', '--calibrate', sharedPath('videos/car-detection.mp4'), '--annotations', 'x.json',
    ], 2, /--images DIR/],
  ];
  for (const [what, args, code, message] of refusals) {
    it(`refuses ${what}`, async () => {
      const output = join(folder, 'refused.onnx');
      const run = await optimize(...args, '-o', output);
      assert.equal(run.code, code, run.stderr);
      assert.match(run.stderr, message);
      assert.ok(!existsSync(output));
      assert.deepEqual(leftovers(), []);
    });
  }

  it('refuses a folder without pictures and a place that cannot be written', async () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    const none = await optimize(yolov8n, '-o', join(folder, 'x.onnx'), '--int8', '--calibrate', empty);
    assert.equal(none.code, 3);
    assert.match(none.stderr, /there are no pictures .* in .*empty/);
    const nowhere = await optimize(yolov8n, '-o', join(folder, 'nowhere', 'x.onnx'));
    assert.equal(nowhere.code, 3);
    assert.match(nowhere.stderr, /cannot write .*nowhere\/x\.onnx: No such file or directory/);
    const full = await optimize(yolov8n, '-o', '/dev/full');
    assert.notEqual(full.code, 0);
    assert.match(full.stderr, /\/dev\/full is not a file/);
  });
});
