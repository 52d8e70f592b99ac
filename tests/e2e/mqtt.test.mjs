// From a camera to an MQTT broker with a password and a certificate of a CA of its own, which is
// killed and comes back; and what is said where password or certificate are wrong.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { makeClip, skipWithoutFfmpeg } from './lib/cameras.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { listen, makeBroker, makeCa, skipWithoutBroker } from './lib/mqtt.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { PATIENCE_MS, startStreams } from './lib/streams.mjs';

const skip = skipWithoutShared() || skipWithoutFfmpeg() || skipWithoutBroker();

describe('MQTT', { skip }, () => {
  let data;
  let ca;
  let broker;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/loop.mp4`, { seconds: 3 });
    ca = makeCa(data.path, 'ca');
    broker = await makeBroker(data.path, ca.sign('localhost'));
  });
  after(async () => {
    await broker?.kill();
    data?.remove();
  });

  it('loses no event when the broker is killed', async (t) => {
    const told = [];
    const kept = new Map();
    const listener = await listen(broker.port, ca.file, (topic, text) =>
      topic.endsWith('/event') ? told.push(JSON.parse(text)) : kept.set(topic, text));
    const streams = await startStreams(data, {
      MQTT_URL: broker.url('secret'),
      MQTT_CA_FILE: ca.file,
      EVENT_CLIP_SECONDS: '0', // an event is what it was when it was told
    });
    let stopped = false;
    t.after(async () => {
      listener.close();
      return stopped || streams.stop();
    });
    const everywhere = [[0, 0], [1, 0], [1, 1], [0, 1]];
    const id = await streams.add('loop', 'file:loop.mp4', {
      zones: [{ name: 'all', polygon: everywhere }],
      rules: [{ name: 'came', kind: 'zone_entered', zone: 'all', classes: ['person'] }],
    });
    const stored = async () => {
      const all = [];
      for (let cursor = ''; cursor !== null;) {
        const url = `${streams.server.url}/api/v1/events?limit=200${cursor === '' ? '' : `&cursor=${cursor}`}`;
        const page = await (await fetch(url)).json();
        all.push(...page.items);
        cursor = page.next_cursor;
      }
      return all;
    };
    /** Looks at the camera again, as somebody else: everybody in the picture comes in anew. */
    const moreEvents = async () => {
      const before = (await stored()).length;
      for (const enabled of [false, true]) {
        assert.equal((await streams.ask(`/${id}`, 'PATCH', { enabled })).status, 200);
      }
      await eventually(async () => (await stored()).length > before, 'there are more events', PATIENCE_MS);
    };
    const distinct = () => new Set(told.map(({ delivery_id: one }) => one)).size;
    await eventually(() => distinct() > 0, 'events are told', PATIENCE_MS);
    const counts = () => JSON.parse(kept.get(`nexus/streams/${id}/counts`) ?? '{"zones":[]}').zones[0];
    await eventually(() => counts()?.entries > 0, 'counts are told', PATIENCE_MS);
    const sensors = () => [...kept.keys()].filter((topic) => topic.startsWith(`homeassistant/sensor/nexus_${id}/zone_`));
    assert.equal(sensors().length, 2);
    assert.equal(JSON.parse(kept.get(sensors()[0])).state_topic, `nexus/streams/${id}/counts`);
    assert.equal(kept.get('nexus/status'), 'online');
    assert.equal(JSON.parse(kept.get(`nexus/streams/${id}/state`)).name, 'loop');
    for (let round = 0; round < 2; round++) {
      await broker.kill();
      await moreEvents(); // that wait
      await broker.start();
      await moreEvents(); // while it is connected to
    }
    assert.equal((await streams.ask(`/${id}`, 'PATCH', { enabled: false })).status, 200);
    await streams.becomes(id, 'stopped');
    let events = [];
    await eventually(async () => distinct() >= (events = await stored()).length, 'all are told', 2 * PATIENCE_MS);
    assert.deepEqual(
      new Set(told.map(({ stream_event: event }) => event.id)),
      new Set(events.map((event) => event.id)),
    );
    assert.equal(distinct(), events.length);
    const { event_type: kind, stream_event: event } = told[0];
    assert.deepEqual(event, events.find((one) => one.id === event.id));
    assert.equal(kind, 'zone_entered');
    assert.equal((await streams.ask(`/${id}`, 'DELETE')).status, 204);
    await eventually(() => kept.get(`nexus/streams/${id}/state`) === '', 'its state is taken back', PATIENCE_MS);
    await eventually(() => sensors().every((topic) => kept.get(topic) === ''), 'so are its sensors', PATIENCE_MS);
    await eventually(() => kept.get(`nexus/streams/${id}/counts`) === '', 'and its counts', PATIENCE_MS);
    stopped = true;
    assert.equal(await streams.stop(), 0);
    await eventually(() => kept.get('nexus/status') === 'offline', 'it says that it goes', PATIENCE_MS);
    assert.doesNotMatch(streams.server.logs(), /secret/);
  });

  /** A server that can't reach the broker says why, once, runs nevertheless, and ends at once. */
  async function cannot(env, words) {
    const settings = { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', ...env };
    const server = await startServer({ args: ['--data-dir', data.path], env: settings });
    await eventually(() => words.test(server.logs()), `the log says ${words}`, PATIENCE_MS);
    assert.equal((await fetch(`${server.url}/health`)).status, 200);
    assert.equal(await server.stop(), 0);
    assert.doesNotMatch(server.logs(), /secret|wrong-word/);
    assert.equal(server.logs().match(new RegExp(words, 'g')).length, 1, server.logs());
  }

  it('says that user or password are wrong', () =>
    cannot({ MQTT_URL: broker.url('wrong-word'), MQTT_CA_FILE: ca.file },
      /no connection to the MQTT broker localhost:\d+: .*not authorised.*password of MQTT_URL/));

  it('trusts no certificate of another CA', async () => {
    const untrusted = /no connection to the MQTT broker localhost:\d+: .*certificate is not trusted.*MQTT_CA_FILE/;
    await cannot({ MQTT_URL: broker.url('secret') }, untrusted);
    await cannot({ MQTT_URL: broker.url('secret'), MQTT_CA_FILE: makeCa(data.path, 'other').file }, untrusted);
  });

  it('trusts no certificate of another host', () =>
    cannot({ MQTT_URL: broker.url('secret').replace('localhost', '127.0.0.1'), MQTT_CA_FILE: ca.file },
      /no connection to the MQTT broker 127.0.0.1:\d+: .*host name verification failed.*MQTT_CA_FILE/));

  it('does not start without the file of the CA', async () => {
    const env = { DATABASE_URL: '', OBJECTS_URL: '', MQTT_URL: broker.url('secret'), MQTT_CA_FILE: '/none.pem' };
    const server = await startServer({ args: ['--data-dir', data.path], env });
    assert.notEqual(await server.exited, 0);
    assert.match(server.logs(), /MQTT_CA_FILE: \/none.pem can't be read/);
  });
});
