// nexus track on a real video: every file of the results, zones that count, and what it says when
// it is given nonsense.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import zlib from 'node:zlib';
import { after, before, describe, it } from 'node:test';
import { nexus } from './lib/cli.mjs';
import { sharedPath, skipWithoutShared } from './lib/server.mjs';

const skip = skipWithoutShared();
const PEOPLE = sharedPath('videos/pets09-s2l1.mp4');
let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'nexus-track-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const file = (name, content) => {
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
};
/** zstd came to Node late; the program is there where the tests are. */
const unpack = (path) =>
  (zlib.zstdDecompressSync ? zlib.zstdDecompressSync(readFileSync(path))
    : execFileSync('zstd', ['-dcq', path], { maxBuffer: 1 << 28 })).toString();

describe('nexus track', { skip }, () => {
  it('follows people and counts them', async () => {
    const out = join(folder, 'people');
    const zones = file('zones.json', {
      zones: [{ name: 'all', polygon: [[0, 0], [1, 0], [1, 1], [0, 1]], classes: ['person'] }],
      lines: [{ name: 'middle', from: [0.5, 1], to: [0.5, 0] }],
    });
    const run = await nexus([
      'track', PEOPLE, '--out', out, '--zones', zones, '--stride', '8', '--conf', '0.4',
      '--classes', 'person', '--counts-every', '10',
    ]);
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, /^100 frames in /);
    assert.deepEqual(readdirSync(out).sort(), [
      'annotated.mp4', 'coco.json', 'counts.csv', 'frames.ndjson.zst', 'heatmap.png', 'mot.txt',
      'objects.csv', 'summary.json',
    ]);
    const summary = JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8'));
    assert.equal(summary.complete, true);
    assert.equal(summary.video.codec, 'h264');
    assert.equal(summary.frames, 100);
    assert.equal(summary.frames_inferred, 100);
    assert.deepEqual(summary.classes.map(({ class_name: name }) => name), ['person']);
    const [person] = summary.classes;
    assert.ok(person.tracks >= 8 && person.tracks <= 60, `${person.tracks} tracks`);
    assert.ok(person.most_at_once >= 4 && person.most_at_once <= 12);
    const [zone] = summary.zones;
    assert.equal(zone.entries, zone.exits + zone.ended + zone.inside);
    assert.ok(zone.dwell_max > 2, `dwell ${zone.dwell_max}`);
    assert.ok(summary.lines.length > 0 && summary.lines[0].in + summary.lines[0].out > 0);

    const frames = unpack(join(out, 'frames.ndjson.zst')).trim().split('\n').map((line) => JSON.parse(line));
    assert.deepEqual(frames.map(({ frame }) => frame), Array.from({ length: 100 }, (_, i) => 8 * i));
    const objects = frames.flatMap((frame) => frame.objects);
    assert.equal(objects.length, summary.objects);
    assert.equal(new Set(objects.map((one) => one.track_id).filter(Boolean)).size, person.tracks);
    const coco = JSON.parse(readFileSync(join(out, 'coco.json'), 'utf8'));
    assert.equal(coco.length, objects.length);
    const rows = readFileSync(join(out, 'objects.csv'), 'utf8').trim().split('\r\n');
    assert.equal(rows.length, objects.length + 1);
    const mot = readFileSync(join(out, 'mot.txt'), 'utf8').trim().split('\n');
    assert.equal(mot.length, objects.filter((one) => one.track_id).length);
    assert.match(mot[0], /^\d+,\d+,[\d.]+,[\d.]+,[\d.]+,[\d.]+,[\d.]+,-1,-1,-1$/);
    const crossings = frames.flatMap((frame) => frame.events ?? []).filter(({ type }) => type.startsWith('line'));
    assert.equal(crossings.length, summary.lines.reduce((sum, line) => sum + line.in + line.out, 0));
    assert.match(readFileSync(join(out, 'counts.csv'), 'utf8'), /\r\n0\.000,10\.000,scene,,person,\d+,0,\d+\r\n/);
    assert.equal(readFileSync(join(out, 'heatmap.png')).subarray(1, 4).toString(), 'PNG');
    assert.equal(readFileSync(join(out, 'annotated.mp4')).subarray(4, 8).toString(), 'ftyp');
  });

  it('keeps what it saw of a video that is cut short', async () => {
    const cut = join(folder, 'cut.ts');
    execFileSync('ffmpeg', ['-v', 'error', '-i', PEOPLE, '-c', 'copy', '-t', '6', '-f', 'mpegts', cut]);
    const stream = readFileSync(cut);
    stream.fill(0xff, Math.floor(stream.length * 0.6), Math.floor(stream.length * 0.7));
    writeFileSync(cut, stream);
    const out = join(folder, 'cut');
    const run = await nexus(['track', cut, '--out', out, '--outputs', 'csv', '--classes', 'person']);
    assert.equal(run.code, 1, run.stderr);
    assert.match(run.stderr, /nexus track: .*cut\.ts/);
    const summary = JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8'));
    assert.equal(summary.complete, false);
    assert.ok(summary.error.length > 10);
    assert.ok(summary.frames > 20 && summary.frames < 60, `${summary.frames} frames`);
  });

  const refusals = [
    ['a file that is not there', ['nowhere.mp4'], 3, /nowhere\.mp4.*No such file/],
    ['a picture', [sharedPath('images/bus.jpg')], 3, /bus\.jpg/],
    ['a text', [sharedPath('images/odd/text.jpg')], 3, /text\.jpg/],
    ['both stride and fps', [PEOPLE, '--stride', '2', '--fps', '5'], 2, /stride or fps, not both/],
    ['an output that is none', [PEOPLE, '--outputs', 'cvs'], 2, /did you mean 'csv'/],
    ['a gate without tracks', [PEOPLE, '--no-track', '--motion-gate'], 2, /leave track on/],
  ];
  for (const [what, args, code, message] of refusals) {
    it(`refuses ${what}`, async () => {
      const out = join(folder, 'refused');
      const run = await nexus(['track', ...args, '--out', out]);
      assert.equal(run.code, code, run.stderr);
      assert.match(run.stderr, message);
      assert.ok(!existsSync(join(out, 'summary.json')));
    });
  }

  const zones = [
    ['no JSON', '{"zones": [', /zones-.*\.json: .*line 1/],
    ['another member', { zone: [] }, /'zone' is neither zones nor lines/],
    ['a point outside', { zones: [{ name: 'a', polygon: [[0, 0], [2, 0], [0, 1]] }] }, /zones\[0\]/],
    ['a class that is none', { lines: [{ name: 'a', from: [0, 0], to: [1, 1], classes: ['persn'] }] },
      /persn.*did you mean.*person/],
  ];
  for (const [what, content, message] of zones) {
    it(`refuses zones with ${what}`, async () => {
      const path = file(`zones-${what.replaceAll(' ', '-')}.json`, content);
      const run = await nexus(['track', PEOPLE, '--out', join(folder, 'refused'), '--zones', path]);
      assert.equal(run.code, 2, run.stderr);
      assert.match(run.stderr, message);
    });
  }
});
