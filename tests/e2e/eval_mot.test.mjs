// nexus eval --mot on the real binary: hand-made tracks with known answers, the shared clip with its
// ground truth, and what it says when it is given nonsense.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { binary, sharedPath, skipWithoutShared } from './lib/server.mjs';

let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'nexus-eval-mot-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `nexus eval` and resolves to {code, out, err}. */
function evaluate(...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, ['eval', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (out += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk) => (err += chunk));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err }));
  });
}

function file(name, lines) {
  const path = join(folder, name);
  writeFileSync(path, lines.join('\n'));
  return path;
}

const near = (value, expected, tolerance, what) =>
  assert.ok(Math.abs(value - expected) <= tolerance, `${what}: ${value}, expected ${expected}`);

// Two who stand still for four frames; their tracks swap in the third and are elsewhere in the
// fourth. TrackEval gives the same numbers.
const STANDING = [1, 2, 3, 4].flatMap((frame) => [
  `${frame},1,0,0,100,100,1`,
  `${frame},2,500,0,100,100,1`,
]);
const SWAPPED = [
  '1,7,0,0,100,100,1,-1,-1,-1',
  '1,8,500,0,80,100,1,-1,-1,-1',
  '2,7,0,0,60,100,1,-1,-1,-1',
  '2,8,500,0,100,100,1,-1,-1,-1',
  '3,8,0,0,100,100,1,-1,-1,-1',
  '3,7,500,0,100,100,1,-1,-1,-1',
  '4,9,900,0,100,100,1,-1,-1,-1',
];

describe('eval of tracks', () => {
  let truth;
  let tracks;
  before(() => {
    truth = file('gt.txt', STANDING);
    tracks = file('tracks.txt', SWAPPED);
  });

  it('computes the values that the definitions give', async () => {
    const run = await evaluate('--mot', truth, '--tracks', tracks, '-f', 'json');
    assert.equal(run.code, 0, run.err);
    const report = JSON.parse(run.out);
    assert.equal(report.frames, 4);
    assert.equal(report.model, null);
    assert.deepEqual(
      [report.matches, report.misses, report.false_positives, report.id_switches],
      [6, 2, 1, 2],
    );
    near(report.mota, 3 / 8, 1e-6, 'MOTA');
    near(report.motp, 0.9, 1e-6, 'MOTP');
    near(report.idf1, 8 / 15, 1e-6, 'IDF1');
    near(report.hota, 0.407502, 1e-6, 'HOTA');
  });

  it('prints a table, and measures fewer frames when asked to', async () => {
    const run = await evaluate('--mot', truth, '--tracks', tracks, '--frames', '2');
    assert.equal(run.code, 0, run.err);
    assert.match(run.out, /^ +MOTA +MOTP +IDF1 +HOTA +DetA +AssA +LocA +switches +false +missed$/m);
    assert.match(run.out, /^ +1\.0000 +0\.8500 +1\.0000 /m);
    assert.match(run.out, /^2 frames, 4 true boxes of 2, 4 boxes of 2 tracks$/m);
  });

  const usage = [
    ['neither a video nor tracks', () => ['--mot', truth], 2, /either --video .* or --tracks/],
    [
      'both',
      () => ['--mot', truth, '--tracks', tracks, '--video', 'v.mp4'],
      2,
      /either --video .* or --tracks/,
    ],
    ['COCO with it', () => ['--mot', truth, '-a', 'x.json'], 2, /--annotations is for COCO/],
    ['its options without it', () => ['-a', 'x.json', '--video', 'v.mp4'], 2, /--video goes with --mot/],
    [
      'a model option for tracks',
      () => ['--mot', truth, '--tracks', tracks, '--motion-gate'],
      2,
      /--motion-gate goes with --video/,
    ],
    [
      'a broken line',
      () => ['--mot', file('broken.txt', ['1,1,0,0,5,5,1', '2,x']), '--tracks', tracks],
      2,
      /broken\.txt: line 2: it has too few columns/,
    ],
    ['an empty truth', () => ['--mot', file('empty.txt', ['']), '--tracks', tracks], 2, /frames/],
    ['no such file', () => ['--mot', join(folder, 'no.txt'), '--tracks', tracks], 3, /no\.txt/],
    ['no such video', () => ['--mot', truth, '--video', join(folder, 'no.mp4')], 3, /no\.mp4/],
  ];
  for (const [what, args, code, words] of usage) {
    it(`refuses ${what}`, async () => {
      const run = await evaluate(...args());
      assert.equal(run.code, code, run.err);
      assert.match(run.err, words);
      assert.equal(run.out, '');
    });
  }
});

describe('eval of a video', { skip: skipWithoutShared() }, () => {
  it('follows the pedestrians of the shared clip', async () => {
    const truth = sharedPath('videos/pets09-s2l1-gt/gt.txt');
    const saved = join(folder, 'saved.txt');
    const run = await evaluate(
      ...['--mot', truth, '--video', sharedPath('videos/pets09-s2l1.mp4'), '-f', 'json'],
      ...['--model', sharedPath('models/yolov8s.onnx'), '--save-tracks', saved],
    );
    assert.equal(run.code, 0, run.err);
    const report = JSON.parse(run.out);
    assert.equal(report.frames_looked_at, 124);
    assert.ok(report.mota >= 0.75, run.out);
    assert.ok(report.id_switches <= 3, run.out);
    assert.match(readFileSync(saved, 'utf8'), /^2,1,/);
    const again = await evaluate('--mot', truth, '--tracks', saved, '-f', 'json');
    assert.equal(again.code, 0, again.err);
    near(JSON.parse(again.out).mota, report.mota, 0.003, 'MOTA of the saved tracks');
    assert.equal(JSON.parse(again.out).id_switches, report.id_switches);
  });

  it('leaves out frames by the motion gate and the stride', async () => {
    const args = [
      ...['--mot', file('car.txt', ['40,1,1,1,5,5,1']), '-f', 'json', '--classes', 'car'],
      ...['--video', sharedPath('videos/car-detection.mp4')],
      ...['--model', sharedPath('models/yolov8n.onnx')],
    ];
    const gated = await evaluate(...args, '--motion-gate');
    assert.equal(gated.code, 0, gated.err);
    const still = JSON.parse(gated.out);
    assert.equal(still.frames_looked_at + still.frames_still, 40);
    assert.ok(still.saved > 0.1, gated.out);
    const strided = await evaluate(...args, '--adaptive-stride');
    assert.equal(strided.code, 0, strided.err);
    const predicted = JSON.parse(strided.out);
    assert.equal(predicted.frames_looked_at + predicted.frames_predicted, 40);
    assert.ok(predicted.saved > 0.1, strided.out);
  });

  it('says when the video is too short, or a class unknown', async () => {
    const args = [
      ...['--mot', file('late.txt', ['3,1,1,1,5,5,1', '9999,1,1,1,5,5,1'])],
      ...['--video', sharedPath('videos/car-detection.mp4')],
      ...['--model', sharedPath('models/yolov8n.onnx')],
    ];
    const short = await evaluate(...args);
    assert.equal(short.code, 2);
    assert.match(short.err, /car-detection\.mp4 has 377 frames, but 9999 are to be measured/);
    const unknown = await evaluate(...args, '--frames', '5', '--classes', 'persn');
    assert.equal(unknown.code, 2);
    assert.match(unknown.err, /no class 'persn'; did you mean 'person'/);
  });
});
