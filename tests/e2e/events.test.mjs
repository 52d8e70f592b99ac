// Events of streams as clients see them: lists, one, its picture, Server-Sent Events. They are put
// into the database by hand here, as another host would enter them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const STREAM = '01900000-0000-7000-8000-000000000001';
const OTHER = '01900000-0000-7000-8000-000000000002';
const id = (number) => `0190ffff-0000-7000-8000-${String(number).padStart(12, '0')}`;

const script = `
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
db.create_function('nx_now', 0, lambda: 0)
db.execute('BEGIN IMMEDIATE')
for e in json.load(sys.stdin):
    seq = db.execute('UPDATE event_head SET seq = seq + 1 RETURNING seq').fetchone()[0]
    if e.get('snapshot'):
        db.execute('INSERT INTO objects (name, created_at) VALUES (?, 1) ON CONFLICT DO NOTHING', [e['snapshot']])
    db.execute('INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?,?,NULL,0,1,NULL)', [seq, e['id'], e['stream'], 'yard',
        e['kind'], e['rule'], e.get('class'), e.get('track'), e.get('zone'), e['at'], e['details'], e.get('snapshot')])
db.execute('COMMIT')
`;

describe('events of streams', { skip }, () => {
  let data;
  let server;
  const picture = skip ? null : readFileSync(sharedPath('images/bus.jpg'));
  const hash = skip ? null : createHash('sha256').update(picture).digest('hex');

  const enter = (...events) =>
    execFileSync('python3', ['-c', script, `${data.path}/nexus.db`], { input: JSON.stringify(events) });
  const event = (number, more = {}) => ({
    id: id(number), stream: STREAM, kind: 'zone_entered', rule: 'came', class: 'person', track: number,
    zone: 'door', at: Date.UTC(2026, 0, 1) + number * 1000, details: '{}', ...more,
  });
  const get = (path, headers = {}) => fetch(`${server.url}/api/v1/events${path}`, { headers });
  const list = async (query) => {
    const answer = await get(query);
    const body = await answer.json();
    assert.equal(answer.status, 200, body.detail);
    return body;
  };
  const numbers = async (query) => (await list(query)).items.map((item) => item.number);

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    const env = { NEXUS_DATA_DIR: data.path, DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false' };
    server = await startServer({ env });
    const folder = `${data.path}/objects/${hash.slice(0, 2)}/${hash.slice(2, 4)}`;
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/${hash}`, picture);
    enter(
      event(1, { snapshot: hash }),
      event(2, { stream: OTHER, kind: 'line_crossed', zone: 'gate', details: '{"direction":"in"}' }),
      event(3, { class: 'car', rule: 'cars' }),
      event(4, { kind: 'camera_lost', class: null, track: null, zone: null, rule: 'camera' }),
    );
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  it('are listed, filtered and paged', async () => {
    assert.deepEqual(await numbers(''), [4, 3, 2, 1]);
    const page = await list('?limit=3');
    assert.equal(page.next_cursor, '2');
    assert.deepEqual(await numbers(`?limit=3&cursor=${page.next_cursor}`), [1]);
    assert.equal((await list(`?limit=3&cursor=${page.next_cursor}`)).next_cursor, null);
    assert.deepEqual(await numbers(`?stream=${OTHER}`), [2]);
    assert.deepEqual(await numbers('?kind=camera_lost'), [4]);
    assert.deepEqual(await numbers('?class=car'), [3]);
    assert.deepEqual(await numbers('?place=gate'), [2]);
    assert.deepEqual(await numbers('?rule=came'), [2, 1]);
    assert.deepEqual(await numbers('?since=2026-01-01T00:00:03Z'), [4, 3]);
    assert.deepEqual(await numbers('?until=2026-01-01T00:00:03Z'), [2, 1]);
    for (const [query, words] of [['?kind=line', /no kind 'line'/], ['?limit=0', /limit is '0'/], ['?zone=door', /no option 'zone'/],
      ['?since=then', /then/], ['?class=', /class has no value/]]) {
      const answer = await get(query);
      assert.equal(answer.status, 422);
      assert.match((await answer.json()).detail, words);
    }
  });

  it('are shown one by one, with their picture', async () => {
    const one = await (await get(`/${id(2)}`)).json();
    assert.deepEqual(one, {
      id: id(2), number: 2, stream: { id: OTHER, name: 'yard' }, kind: 'line_crossed', rule: 'came', class_name: 'person',
      track_id: 2, place: 'gate', at: '2026-01-01T00:00:02.000Z', details: { direction: 'in' }, snapshot: null, clip: null, clip_offset: null,
      created_at: '1970-01-01T00:00:00.001Z',
    });
    const { snapshot } = await (await get(`/${id(1)}`)).json();
    const answer = await fetch(server.url + snapshot);
    assert.equal(answer.headers.get('content-type'), 'image/jpeg');
    assert.equal(answer.headers.get('etag'), `"${hash}"`);
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), picture);
    assert.equal((await get(`/${id(1)}/clip`)).status, 404);
    assert.equal((await get(`/${id(9)}`)).status, 404);
    assert.equal((await get('/7')).status, 404);
    assert.deepEqual(await (await get(`/${id(1)}/deliveries`)).json(), { items: [] });
  });

  /** Reads Server-Sent Events until there are so many. */
  async function follow(query, headers, count, begun = () => {}) {
    const stop = new AbortController();
    const answer = await fetch(`${server.url}/api/v1/events/stream${query}`, { headers, signal: stop.signal });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type').split(';')[0], 'text/event-stream');
    begun();
    let text = '';
    let found = [];
    for await (const chunk of answer.body) {
      text += Buffer.from(chunk).toString();
      found = [...text.matchAll(/^id: (\d+)\nevent: (\w+)\ndata: (.*)\n\n/gm)].map(([, seq, kind, body]) => {
        assert.equal(JSON.parse(body).number, Number(seq));
        assert.equal(JSON.parse(body).kind, kind);
        return Number(seq);
      });
      if (found.length >= count) break;
    }
    stop.abort();
    return found;
  }

  it('are followed from a number on, and from now on', async () => {
    assert.deepEqual(await follow('', { 'Last-Event-ID': '1' }, 3), [2, 3, 4]);
    assert.deepEqual(await follow(`?stream=${STREAM}`, { 'Last-Event-ID': '0' }, 3), [1, 3, 4]);
    const fresh = follow('', {}, 2, () => enter(event(5), event(6)));
    assert.deepEqual(await fresh, [5, 6]);
    assert.equal((await get('/stream', { 'Last-Event-ID': 'x' })).status, 400);
    assert.equal((await get('/stream?stream=x')).status, 422);
  });

  it('are removed with their picture', async () => {
    const remove = () => fetch(`${server.url}/api/v1/events/${id(1)}`, { method: 'DELETE' });
    assert.equal((await remove()).status, 204);
    assert.equal((await remove()).status, 404);
    assert.equal((await get(`/${id(1)}/snapshot`)).status, 404);
    assert.throws(() => readFileSync(`${data.path}/objects/${hash.slice(0, 2)}/${hash.slice(2, 4)}/${hash}`), /ENOENT/);
    const { items } = await (await fetch(`${server.url}/api/v1/audit?action=event.remove`)).json();
    assert.equal(items.filter((row) => row.object === `event:${id(1)}` && row.result === 'ok').length, 1);
  });
});
