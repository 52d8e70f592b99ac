// From a camera to whoever is told: a looped file of pedestrians, a stream's rules, events with their
// picture, and a signed webhook.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { makeClip, skipWithoutFfmpeg } from './lib/cameras.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, metric, sharedPath, skipWithoutShared } from './lib/server.mjs';
import { PATIENCE_MS, startStreams } from './lib/streams.mjs';

const skip = skipWithoutShared() || skipWithoutFfmpeg();

describe('events of a stream', { skip }, () => {
  let data;
  let streams;
  let receiver;
  let ownUrl;
  const posts = [];
  const ownPosts = []; // to a stream's own webhook

  before(async () => {
    receiver = createServer((request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks);
        (request.url === '/own' ? ownPosts : posts).push({ ...JSON.parse(body.toString()), body, signature: request.headers['x-nexus-signature'] });
        response.writeHead(200).end();
      });
    });
    await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/loop.mp4`, { seconds: 3 });
    const env = {
      EVENT_WEBHOOK_URL: `http://127.0.0.1:${receiver.address().port}/`,
      EVENT_CLIP_SECONDS: '0', // an event is what it was when it was told
      WEBHOOK_ALLOW_PRIVATE: 'true',
    };
    ownUrl = `${env.EVENT_WEBHOOK_URL}own`;
    streams = await startStreams(data, env);
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    data?.remove();
    await new Promise((resolve) => receiver.close(resolve));
  });
  const get = async (path) => (await fetch(`${streams.server.url}/api/v1/events${path}`)).json();

  it('are made by its rules, stored with a picture, and told', async () => {
    const everywhere = [[0, 0], [1, 0], [1, 1], [0, 1]];
    const zones = [{ name: 'all', polygon: everywhere }];
    const rules = [
      { name: 'somebody', kind: 'object_appeared', classes: ['person'], cooldown: 0 },
      { name: 'came', kind: 'zone_entered', zone: 'all', classes: ['person'] },
    ];
    const id = await streams.add('loop', 'file:loop.mp4', { zones, rules, webhook_url: ownUrl, webhook_secret: 'its own' });
    const stored = (await streams.get(id)).options;
    assert.deepEqual([stored.rules, stored.zones], [rules, zones]);
    let events = [];
    await eventually(
      async () => {
        events = (await get(`?stream=${id}&limit=200`)).items;
        return ['object_appeared', 'zone_entered'].every((kind) => events.some((event) => event.kind === kind));
      },
      'both rules have told of somebody',
      PATIENCE_MS,
    );
    const counted = (name) => metric(streams.server.url, name);
    await eventually(async () => (await counted('events_recorded_total')) >= events.length, 'they are counted');
    assert.equal(await counted('events_lost_total'), 0);
    const event = events.find(({ kind }) => kind === 'zone_entered');
    assert.deepEqual(event.stream, { id, name: 'loop' });
    assert.deepEqual([event.rule, event.class_name, event.place], ['came', 'person', 'all']);
    assert.ok(event.track_id > 0 && event.details.confidence > 0 && event.details.box.x2 > event.details.box.x1);
    const picture = await fetch(streams.server.url + event.snapshot);
    assert.equal(picture.headers.get('content-type'), 'image/jpeg');
    assert.equal(Buffer.from(await picture.arrayBuffer()).readUInt16BE(0), 0xffd8);
    await eventually(() => posts.some((post) => post.stream_event.id === event.id), 'the webhook came', PATIENCE_MS);
    const post = posts.find(({ stream_event: { id: told } }) => told === event.id);
    assert.equal(post.event, 'stream.zone_entered');
    assert.deepEqual(post.stream_event, event);
    // and its own webhook, signed with its own secret
    await eventually(() => ownPosts.some((one) => one.stream_event.id === event.id), 'its own webhook came', PATIENCE_MS);
    const own = ownPosts.find(({ stream_event: { id: told } }) => told === event.id);
    const [, time, hex] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(own.signature);
    assert.equal(hex, createHmac('sha256', 'its own').update(`${time}.`).update(own.body).digest('hex'));
    assert.equal(post.signature, undefined, 'the server has no secret');
    assert.notEqual(own.delivery_id, post.delivery_id);
    await eventually(
      async () => (await get(`/${event.id}/deliveries`)).items.filter(({ state }) => state === 'delivered').length === 2,
      'both deliveries are noted',
      PATIENCE_MS,
    );
    const { items } = await get(`/${event.id}/deliveries`);
    assert.deepEqual(items.map(({ url }) => new URL(url).pathname).sort(), ['/', '/own']);

    const changed = async (change) => {
      const { status, value } = await streams.ask(`/${id}`, 'PATCH', change);
      assert.equal(status, 200, value.detail);
      return [value.webhook_url, value.webhook_signed];
    };
    assert.deepEqual(await changed({ enabled: false }), [ownUrl, true]);
    assert.deepEqual(await changed({ webhook_secret: null }), [ownUrl, false]);
    assert.deepEqual(await changed({ webhook_secret: 'another' }), [ownUrl, true]);
    assert.deepEqual(await changed({ webhook_url: `${ownUrl}/other` }), [`${ownUrl}/other`, false], 'it was not for that one');
    assert.deepEqual(await changed({ webhook_url: ownUrl, webhook_secret: 'another' }), [ownUrl, true]);
    assert.deepEqual(await changed({ webhook_url: null }), [null, false]);
    assert.deepEqual(await changed({ webhook_url: ownUrl }), [ownUrl, false], 'the key went with it');
  });

  it('refuses rules that can not be', async () => {
    const wrong = async (more, detail) => {
      const answer = await streams.ask('', 'POST', { name: 'x', url: 'rtsp://10.0.0.9/cam', ...more });
      assert.equal(answer.status, 422, JSON.stringify(answer.value));
      assert.match(answer.value.detail, detail);
    };
    await wrong({ webhook_url: 'ftp://example.org/' }, /^webhook_url: /);
    await wrong({ webhook_url: 'https://example.org/***' }, /^webhook_url: the three stars/);
    await wrong({ rules: {} }, /rules: send a list/);
    await wrong({ rules: [{ name: 'a', kind: 'zone_left', zone: 'door' }] }, /rules\[0\]\.zone: there is no zone 'door'/);
    await wrong({ rules: [{ name: 'a', kind: 'loitring' }] }, /did you mean 'loitering'/);
    await wrong({ rules: [{ name: 'a', kind: 'camera_lost' }], track: false }, /they need track/);
  });
});
