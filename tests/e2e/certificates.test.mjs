// The certificates of those whom Nexus tells have ended: a webhook's receiver (HTTPS) and an MQTT broker. Both are told
// nothing meanwhile, it is said why, and they are told once their certificates are renewed.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { after, before, describe, it } from 'node:test';
import { skipWithout } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo, submitJob } from './lib/jobs.mjs';
import { makeBroker, makeCa, skipWithoutBroker } from './lib/mqtt.mjs';
import { eventually, skipWithoutShared, startServer } from './lib/server.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const PATIENCE_MS = 120_000; // the second attempt is ten seconds after the first; a busy machine takes longer
const ENDED = -1; // days
const skip = skipWithoutShared() || skipWithout('openssl') || skipWithoutBroker();

const read = ({ cert, key }) => ({ cert: readFileSync(cert), key: readFileSync(key) });

/** Keeps the ids of what is posted to it over TLS. */
async function startReceiver(certificate) {
  const told = [];
  const server = createServer(read(certificate), (request, response) => {
    told.push(request.headers['x-nexus-delivery']);
    request.resume().on('end', () => response.writeHead(204).end());
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://localhost:${server.address().port}/hook`,
    told,
    renew: (next) => server.setSecureContext(read(next)),
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

describe('a certificate that has ended', { skip }, () => {
  let data;
  let ca;
  let receiver;
  let broker;
  let server;

  before(async () => {
    data = makeDataDir();
    writeTinyModel(`${data.path}/models/tiny.onnx`);
    ca = makeCa(data.path, 'ca');
    receiver = await startReceiver(ca.sign('localhost', ENDED));
    broker = await makeBroker(data.path, ca.sign('localhost', ENDED));
    server = await startServer({
      args: ['--data-dir', data.path],
      env: {
        NEXUS_MODEL: 'tiny', DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', WEBHOOK_ALLOW_PRIVATE: 'true',
        WEBHOOK_CA_FILE: ca.file, MQTT_CA_FILE: ca.file, MQTT_URL: broker.url('secret'),
      },
    });
  });
  after(async () => {
    await server?.stop();
    await broker?.kill();
    await receiver?.close();
    data?.remove();
  });

  const ask = (path, init) => fetch(`${server.url}/api/v1/${path}`, init);
  const delivery = async (job) => (await (await ask(`jobs/${job}/webhooks`)).json()).items[0];

  it("of a webhook's receiver is told with the attempt, which is made again when it is renewed", async () => {
    const job = await submitJob(server, { video_id: await addVideo(server), webhook_url: receiver.url });
    assert.equal((await ask(`jobs/${job.id}`, { method: 'DELETE' })).status, 200);
    await eventually(async () => (await delivery(job.id))?.log.length > 0, 'an attempt is logged', PATIENCE_MS);
    const failed = await delivery(job.id);
    const [{ status, error }] = failed.log;
    assert.equal(failed.state, 'pending');
    assert.equal(status, null);
    assert.equal(error, 'no secure connection: SSL certificate problem: certificate has expired');
    assert.match(server.logs(), /attempt 1: no secure connection: .*certificate has expired/);
    assert.equal((await ask('jobs')).status, 200);

    receiver.renew(ca.sign('localhost'));
    await eventually(async () => (await delivery(job.id)).state !== 'pending', 'it is told', PATIENCE_MS);
    const delivered = await delivery(job.id);
    assert.deepEqual([delivered.id, delivered.state], [failed.id, 'delivered']);
    assert.deepEqual(receiver.told, [failed.id]);
  });

  it('of an MQTT broker is told in the log, and it is connected to when it is renewed', async () => {
    const refused = /no connection to the MQTT broker localhost:\d+: .*certificate is not trusted: it may have ended/;
    await eventually(() => refused.test(server.logs()), `the log says ${refused}`, PATIENCE_MS);
    assert.doesNotMatch(server.logs(), /connected to the MQTT broker/);
    await broker.kill();
    broker.setCertificate(ca.sign('localhost'));
    await broker.start();
    await eventually(() => /connected to the MQTT broker/.test(server.logs()), 'it is connected to', PATIENCE_MS);
  });

  it('is not mended by a file of authorities that is not there', async () => {
    const env = { NEXUS_MODEL: 'tiny', DATABASE_URL: '', OBJECTS_URL: '', WEBHOOK_CA_FILE: '/none.pem' };
    const other = await startServer({ args: ['--data-dir', data.path], env });
    assert.notEqual(await other.exited, 0);
    assert.match(other.logs(), /WEBHOOK_CA_FILE: \/none.pem can't be read/);
  });
});
