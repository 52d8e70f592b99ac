// What browsers are told about every kind of answer: the page, the API's documentation, JSON, errors,
// pictures and metrics. Nothing inline, nothing from elsewhere, no frames, no guessing of types.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();

describe('security headers', { skip }, () => {
  let data;
  let server;
  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({ args: ['--data-dir', data.path], env: { DATABASE_URL: '', OBJECTS_URL: '' } });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const bus = skip ? null : readFileSync(sharedPath('images/bus.jpg'));
  const infer = (headers) => fetch(`${server.url}/api/v1/inference/image`,
    { method: 'POST', headers: { 'Content-Type': 'image/jpeg', ...headers }, body: bus });
  const get = (path) => fetch(server.url + path);

  function protects(answer, name) {
    const header = (one) => answer.headers.get(one);
    assert.equal(header('x-content-type-options'), 'nosniff', name);
    assert.equal(header('referrer-policy'), 'no-referrer', name);
    assert.equal(header('cross-origin-resource-policy'), 'same-origin', name);
    const policy = header('content-security-policy');
    assert.match(policy, /^default-src 'none'/, name);
    assert.match(policy, /frame-ancestors 'none'/, name);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/, name);
    assert.equal(header('access-control-allow-origin'), null, name);
    assert.equal(header('server'), null, name);
  }

  it('are on every kind of answer', async () => {
    const answers = {
      page: await get('/'), documentation: await get('/docs'), description: await get('/openapi.json'),
      list: await get('/api/v1/models'), missing: await get('/api/v1/nothing'), health: await get('/health'),
      metrics: await get('/metrics'), found: await infer({}), picture: await infer({ Accept: 'image/jpeg' }),
      refused: await fetch(`${server.url}/api/v1/inference/image`, { method: 'POST', body: 'text' }),
    };
    assert.equal(answers.picture.headers.get('content-type'), 'image/jpeg');
    for (const [name, answer] of Object.entries(answers)) {
      protects(answer, name);
      await answer.arrayBuffer();
    }
  });

  it('are on answers that are sent before a request was understood', async () => {
    const socket = net.connect(server.port, '127.0.0.1');
    socket.write('POST /api/v1/inference/image HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n');
    const text = Buffer.concat(await socket.toArray()).toString();
    assert.match(text, /^HTTP\/1\.1 400 /);
    for (const line of ['X-Content-Type-Options: nosniff', 'Referrer-Policy: no-referrer', 'Cross-Origin-Resource-Policy: same-origin',
      "Content-Security-Policy: default-src 'none'"]) {
      assert.ok(text.includes(line), line);
    }
  });

  it('let the page do what it needs, in files of its own', async () => {
    for (const path of ['/', '/docs']) {
      const page = await get(path);
      assert.equal(page.headers.get('cross-origin-opener-policy'), 'same-origin');
      assert.match(page.headers.get('permissions-policy'), /camera=\(\)/);
      const text = await page.text();
      assert.doesNotMatch(text, /<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=|\son\w+=|javascript:/i, path);
      const from = [...text.matchAll(/\s(?:src|href)="([^"]*)"/g)].map(([, url]) => url);
      assert.ok(from.length > 0 && from.every((url) => /^(\/|\.\/|#|data:)/.test(url) || !/^[a-z]+:/i.test(url)), `${path}: ${from}`);
    }
  });
});
