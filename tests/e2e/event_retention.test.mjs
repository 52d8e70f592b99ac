// Pictures and clips of events in S3, and how they go: by age, by size, and when an event is removed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { makeCrowdClip, skipWithoutFfmpeg } from './lib/cameras.mjs';
import { nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutS3, startS3 } from './lib/s3.mjs';
import { eventually } from './lib/server.mjs';
import { PATIENCE_MS, startStreams } from './lib/streams.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const SIDE = 384;
const MEGABYTE = 1 << 20; // the least that EVENT_MAX_BYTES may be
const NAMES = ['old', 'middle', 'new'];

/** Makes the events of a stream older. Triggers of the database ask for its clock. */
const age = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=20)
db.create_function('nx_now', 0, lambda: 0)
db.execute('UPDATE events SET at = at - 3600000 WHERE stream_id = ?', [sys.argv[2]])
db.commit()
`;

describe('what is kept of events', { skip: skipWithoutFfmpeg() || skipWithoutS3() }, () => {
  let data;
  let s3;
  let streams;
  const kept = {}; // of each stream: its id, its events, and its clip's name and size

  const get = (path) => fetch(`${streams.server.url}${path}`);
  const events = async (id) => (await (await get(`/api/v1/events?stream=${id}`)).json()).items;
  const sweep = async (env) => {
    const run = await nexus(['sweep', '--data-dir', data.path], { env: { DATABASE_URL: '', ...s3.env, ...env } });
    assert.equal(run.code, 0, run.stderr);
    return Object.fromEntries(run.stdout.trim().split('\n').map((line) => line.split(/ {2,}/)));
  };

  before(async () => {
    data = makeDataDir();
    s3 = await startS3();
    writeTinyModel(join(data.path, 'models/crowd.onnx'), SIDE);
    // the same pictures would be the same objects
    NAMES.forEach((name, i) => makeCrowdClip(SIDE, `${data.path}/${name}.mp4`, { seconds: 1, crf: 4 + i }));
    streams = await startStreams(data, { ...s3.env, NEXUS_MODEL: 'crowd', EVENT_CLIP_SECONDS: '1' });
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    s3?.remove();
    data?.remove();
  });

  async function expectKept({ events: all, clip, snapshot, bytes }) {
    const answer = await get(all[0].clip);
    assert.equal(answer.status, 200);
    assert.equal((await answer.arrayBuffer()).byteLength, bytes);
    assert.ok(s3.file(clip) && s3.file(snapshot));
  }
  async function expectGone({ id, events: all, clip, snapshot }) {
    assert.deepEqual(await events(id), []);
    for (const path of all.flatMap((event) => [`/api/v1/events/${event.id}`, event.clip, event.snapshot])) {
      const answer = await get(path);
      assert.equal(answer.status, 404);
      assert.match((await answer.json()).detail, /there is no event/);
    }
    assert.deepEqual([s3.file(clip), s3.file(snapshot)], [undefined, undefined]);
  }

  it('has a picture and a clip, which events of one moment share', async () => {
    const rules = ['first', 'second'].map((name) => ({ name, kind: 'object_appeared', cooldown: 3600 }));
    for (const name of NAMES) { // one after the other: the oldest go first
      kept[name] = { id: await streams.add(name, `file:${name}.mp4`, { fps: 5, rules }) };
      await eventually(async () => (await events(kept[name].id)).length === 2, `events of ${name}`, PATIENCE_MS);
    }
    for (const one of Object.values(kept)) {
      await eventually(async () => {
        one.events = await events(one.id);
        return one.events.every(({ clip }) => clip !== null);
      }, 'its clip', PATIENCE_MS);
      const answers = await Promise.all(one.events.flatMap(({ clip, snapshot }) => [clip, snapshot]).map(get));
      const [clip, snapshot, otherClip, otherSnapshot] = answers.map(({ headers }) => headers.get('etag').slice(1, -1));
      assert.deepEqual([otherClip, otherSnapshot], [clip, snapshot]);
      const bytes = (await answers[0].arrayBuffer()).byteLength;
      assert.ok(bytes > MEGABYTE, `${bytes} bytes`);
      Object.assign(one, { clip, snapshot, bytes });
      await expectKept(one);
      await streams.ask(`/${one.id}`, 'DELETE'); // its events outlive it
    }
  });

  it('goes when it is older than EVENT_LIFETIME', async () => {
    execFileSync('python3', ['-c', age, `${data.path}/nexus.db`, kept.old.id]);
    assert.deepEqual((await sweep({ EVENT_LIFETIME: '7200' })).events, '0');
    const swept = await sweep({ EVENT_LIFETIME: '600' });
    assert.deepEqual([swept.events, swept['objects that nothing needs']], ['2', '2']);
    await expectGone(kept.old);
    await Promise.all([kept.middle, kept.new].map(expectKept));
  });

  it('goes when all of it is more than EVENT_MAX_BYTES, the oldest first and whole', async () => {
    const most = kept.new.bytes + kept.middle.bytes / 2;
    assert.equal((await sweep({ EVENT_MAX_BYTES: String(Math.floor(most)) })).events, '2');
    await expectGone(kept.middle);
    await expectKept(kept.new);
  });

  it('goes with the last of its events', async () => {
    const [first, second] = kept.new.events;
    const remove = ({ id }) => fetch(`${streams.server.url}/api/v1/events/${id}`, { method: 'DELETE' });
    assert.equal((await remove(first)).status, 204);
    assert.equal((await get(second.clip)).status, 200);
    assert.equal((await remove(second)).status, 204);
    await expectGone(kept.new);
  });
});
