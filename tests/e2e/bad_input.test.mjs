// Bad days in a row against one server: odd files, lying headers, slow and idle clients. Afterwards it
// answers a good request, its memory is back within 20 % and no descriptor has leaked.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { cpus } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { eventually, fdCount, rss, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const IDLE_CONNECTIONS = 2000;
const ENDPOINT = '/api/v1/inference/image';

// What images/odd must give; everything that is not named here is served.
const refused = {
  'bomb-20000x20000.png': [413, /20000x20000/],
  'corrupt-middle.jpg': [422, /corrupt|damaged|Huffman/i],
  'empty.jpg': [400, /no body/],
  'header-only.jpg': [422, /JPEG|cut short|ends/i],
  'plain.bmp': [415, /BMP/],
  'plain.tiff': [415, /TIFF/],
  'text.jpg': [415, /text/i],
  'truncated.jpg': [422, /cut short|premature|ends/i],
  'truncated.png': [422, /cut short|ends|PNG/i],
};

function connect(server) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(server.port, '127.0.0.1', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Sends bytes and resolves to everything that comes back until the server closes. */
async function exchange(server, bytes) {
  const socket = await connect(server);
  return new Promise((resolve) => {
    let answer = '';
    socket.setEncoding('latin1').on('data', (chunk) => (answer += chunk));
    socket.on('error', () => {}); // a reset is an answer too
    socket.once('close', () => resolve(answer));
    socket.write(bytes);
  });
}

const head = (lines) => `POST ${ENDPOINT} HTTP/1.1\r\nHost: localhost\r\n${lines.join('\r\n')}\r\n\r\n`;

describe('bad days', { skip: skipWithoutShared() }, () => {
  let server;
  let restingRss;
  let restingFds;
  const picture = skipWithoutShared() ? null : readFileSync(sharedPath('images/bus.jpg'));

  const send = (body, type) =>
    fetch(server.url + ENDPOINT, { method: 'POST', body, headers: type ? { 'content-type': type } : {} });

  async function servesWell() {
    const response = await send(picture, 'image/jpeg');
    assert.equal(response.status, 200);
    const { detections } = await response.json();
    assert.equal(detections.length, 5);
  }

  before(async () => {
    server = await startServer({ env: { REQUEST_TIMEOUT: '3', KEEPALIVE: '5' } });
    const workers = 2 * cpus().length; // twice, so that every one has its memory
    await Promise.all(Array.from({ length: workers }, servesWell));
    await new Promise((resolve) => setTimeout(resolve, 5000)); // idle memory goes back after 3 s
    restingRss = rss(server.pid);
    restingFds = fdCount(server.pid);
  });

  after(async () => {
    if (server) assert.equal(await server.stop(), 0, 'the server ends cleanly');
  });

  it('answers each odd picture with its detections or its own problem', async () => {
    for (const name of readdirSync(sharedPath('images/odd'))) {
      const response = await send(readFileSync(sharedPath(`images/odd/${name}`)), 'image/jpeg');
      const answer = await response.json();
      const [status, words] = refused[name] ?? [200];
      assert.equal(response.status, status, `${name}: ${JSON.stringify(answer)}`);
      if (status !== 200) {
        assert.match(response.headers.get('content-type'), /application\/problem\+json/);
        assert.match(answer.detail, words, name);
        assert.ok(answer.advice, `${name} has advice`);
      }
    }
  });

  it('refuses model files sent as pictures', async () => {
    for (const name of readdirSync(sharedPath('models/broken'))) {
      const response = await send(readFileSync(sharedPath(`models/broken/${name}`)), 'image/png');
      assert.ok([400, 415, 422].includes(response.status), `${name}: ${response.status}`);
      await response.text();
    }
  });

  it('refuses an empty body, a wrong type and a truncated form', async () => {
    assert.equal((await send('', 'image/jpeg')).status, 400);
    assert.equal((await send('hello', 'text/plain')).status, 415);
    const form = '--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\nabc';
    assert.equal((await send(form, 'multipart/form-data; boundary=x')).status, 400);
  });

  it('refuses 10 GB from the declared length alone', async () => {
    const answer = await exchange(server, head(['Content-Type: image/jpeg', 'Content-Length: 10737418240']));
    assert.match(answer, /^HTTP\/1\.1 413 /);
  });

  it('ends a body that drips at one byte a second', async () => {
    const socket = await connect(server);
    const start = Date.now();
    socket.write(head(['Content-Type: image/jpeg', 'Content-Length: 100000']));
    const drip = setInterval(() => socket.write('x'), 1000);
    socket.on('error', () => {});
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    clearInterval(drip);
    assert.ok(Date.now() - start < 10_000, `closed after ${Date.now() - start} ms`);
  });

  it('ends a header that drips at one byte a second', async () => {
    const socket = await connect(server);
    const start = Date.now();
    const text = head(['X-Slow: yes']);
    let sent = 0;
    const drip = setInterval(() => socket.write(text[sent++ % text.length]), 1000);
    socket.on('error', () => {});
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    clearInterval(drip);
    assert.ok(Date.now() - start < 40_000, `closed after ${Date.now() - start} ms`);
  });

  it(`serves others while ${IDLE_CONNECTIONS} connections stand open`, async () => {
    const sockets = [];
    for (let i = 0; i < IDLE_CONNECTIONS; i += 100) {
      sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => connect(server)))));
    }
    sockets.forEach((socket) => socket.on('error', () => {}));
    await servesWell();
    assert.equal((await fetch(`${server.url}/health`)).status, 200);
    sockets.forEach((socket) => socket.destroy());
  });

  it('forgets clients that leave while they wait', async () => {
    const body = Buffer.concat([Buffer.from(head(['Content-Type: image/jpeg', `Content-Length: ${picture.length}`])), picture]);
    const sockets = await Promise.all(Array.from({ length: 40 }, () => connect(server)));
    for (const socket of sockets) {
      socket.on('error', () => {});
      await new Promise((resolve) => socket.write(body, resolve));
    }
    sockets.forEach((socket) => socket.destroy());
    await eventually(
      async () => (await (await fetch(`${server.url}/health/ready`)).json()).queue.depth === 0,
      'an empty queue',
      3000,
    );
  });

  it('is itself again afterwards: answers, memory, descriptors', async () => {
    await servesWell();
    await eventually(() => fdCount(server.pid) <= restingFds + 1, 'descriptors closed', 30_000);
    if (process.env.ASAN_OPTIONS === undefined) { // AddressSanitizer keeps freed memory on purpose
      await eventually(() => rss(server.pid) <= restingRss * 1.2, `RSS near ${restingRss >> 20} MB`, 30_000);
    }
  });
});
