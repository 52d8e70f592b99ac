// What clients send who mean harm: every parameter and every field that the API documents, filled
// with paths, SQL, line breaks and formats; names of files; addresses that the server could be made
// to ask; JSON too large and too deep. Nothing of it is a failure of the server, changes what is
// there, or brings back what is not the client's.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo } from './lib/jobs.mjs';
import { metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { tinyModel } from './lib/tiny_model.mjs';

const MARK = 'only-for-this-machine';
const PATHS = ['../../../../../../etc/passwd', '/etc/passwd', '..\\..\\..\\etc\\passwd', '....//....//x',
  '..%2f..%2fnexus.db', '%2e%2e/nexus.db', 'file:///etc/passwd', '/proc/self/environ', 'nexus.db'];
const SQL = ["' OR '1'='1", "'; DROP TABLE videos; --", '" OR ""="', "1) UNION SELECT name FROM sqlite_master --",
  "\\'; DROP TABLE jobs; --", '$1', '%'];
const LINES = ['a\r\nX-Injected: yes', 'a\nSet-Cookie: s=1', 'a\r\n\r\nHTTP/1.1 200 OK', '\u2028', 'a\tb'];
const FORMATS = ['%s%s%s%n', '{{7*7}}', '${7*7}', '$(touch /tmp/x)', '`id`', '<script>alert(1)</script>'];
const EXTREMES = ['', ' ', 'x'.repeat(5000), '\ufffd', 'NaN', '-1', '1e309', '99999999999999999999', 'null', 'true'];
const VALUES = [...PATHS, ...SQL, ...LINES, ...FORMATS, ...EXTREMES];
const METHODS = ['get', 'post', 'put', 'patch', 'delete', 'head'];

describe('hostile clients', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let api;
  let video;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    writeFileSync(join(data.path, 'canary.txt'), MARK);
    server = await startServer({ env: {
      NEXUS_DATA_DIR: data.path,
      DATABASE_URL: '',
      OBJECTS_URL: '',
      RUN_JOBS: 'false',
      RATE_LIMIT: 'false', // whatever comes is to be looked at
      AWS_SECRET_ACCESS_KEY: MARK,
    } });
    api = await (await fetch(`${server.url}/openapi.json`)).json();
    video = await addVideo(server);
  });

  after(async () => {
    await server?.stop();
    data?.remove();
  });

  /** A client's fault, or an answer: never a failure of the server, and nothing of the machine in it. */
  async function assertHarmless(response, what) {
    const text = await response.text();
    assert.ok(response.status < 500, `${what}: ${response.status} ${text.slice(0, 300)}`);
    assert.ok(!text.includes(MARK) && !/root:[^:]*:0:0:/.test(text), `${what}: ${text.slice(0, 300)}`);
    assert.equal(response.headers.get('x-injected'), null, what);
    if (response.status >= 400 && text !== '') {
      assert.match(response.headers.get('content-type'), /^application\/(problem\+)?json/, what);
      JSON.parse(text);
    }
    return text;
  }

  /** What was there is there, and nothing else. */
  async function assertUnharmed() {
    const { items } = await (await fetch(`${server.url}/api/v1/videos`)).json();
    assert.deepEqual(items.map(({ id }) => id), [video]);
    const jobs = await fetch(`${server.url}/api/v1/jobs`);
    assert.equal(jobs.status, 200);
    const { status } = await (await fetch(`${server.url}/health/ready`)).json();
    assert.equal(status, 'ready');
    assert.ok(existsSync(join(data.path, 'models/yolov8n.onnx')));
    assert.equal(readFileSync(join(data.path, 'canary.txt'), 'utf8'), MARK);
  }

  const resolve = (node) => (node?.$ref === undefined ? node
    : resolve(node.$ref.slice(2).split('/').reduce((at, name) => at[name], api)));

  /** Each documented operation: { path, method, parameters, operation }. */
  function* operations() {
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((name) => item[name] !== undefined)) {
        const parameters = [...item.parameters ?? [], ...item[method].parameters ?? []].map(resolve);
        yield { path, method: method.toUpperCase(), parameters, operation: item[method] };
      }
    }
  }

  const filled = (path, value = 'x') => path.replaceAll(/\{[^}]+\}/g, encodeURIComponent(value));

  it('fill each part of a path', async () => {
    let asked = 0;
    for (const { path, method } of operations()) {
      if (!path.includes('{')) {
        continue;
      }
      for (const value of VALUES.filter((text) => text !== '')) {
        const at = filled(path, value);
        const response = await fetch(server.url + at, { method });
        await assertHarmless(response, `${method} ${at.slice(0, 200)}`);
        // what is said of a model may be said before there is one
        const told = path.endsWith('/access');
        assert.ok(method === 'HEAD' || told || response.status >= 400, `${method} ${at.slice(0, 200)}`);
        asked++;
      }
    }
    assert.ok(asked > 500, String(asked));
    await assertUnharmed();
  });

  it('fill each parameter of a query', async () => {
    let asked = 0;
    for (const { path, method, parameters } of operations()) {
      const at = path.replaceAll('{id}', video).replaceAll('{name}', 'yolov8n').replaceAll('{version}', '1');
      for (const { name } of parameters.filter((parameter) => parameter.in === 'query')) {
        if (method === 'DELETE') {
          continue; // of what is there: it would be deleted whatever else is asked
        }
        for (const value of VALUES) {
          const response = await fetch(`${server.url}${filled(at)}?${name}=${encodeURIComponent(value)}`,
            { method });
          await assertHarmless(response, `${method} ${path}?${name}=${value.slice(0, 100)}`);
          asked++;
        }
      }
    }
    assert.ok(asked > 300, String(asked));
    await assertUnharmed();
  });

  it('fill each header', async () => {
    const names = new Set(['Idempotency-Key', 'Range', 'If-Range', 'If-None-Match', 'Accept', 'Authorization',
      'Cookie', 'X-Forwarded-For', 'X-Request-Id', 'Tus-Resumable', 'Upload-Length', 'Upload-Offset',
      'Upload-Metadata', 'Content-Type', 'Origin']);
    const values = VALUES.filter((text) => /^[\t\x20-\x7e]*$/.test(text));
    const requests = [['HEAD', `/api/v1/videos/${video}/content`], ['POST', '/api/v1/videos/process'],
      ['POST', '/api/v1/uploads']];
    for (const name of names) {
      for (const value of values) {
        for (const [method, path] of requests) {
          const response = await fetch(server.url + path, { method, headers: { [name]: value } });
          const what = `${method} ${path} ${name}: ${value.slice(0, 100)}`;
          if (response.ok || name === 'Cookie') { // the video itself; libmicrohttpd's own page
            assert.ok(response.status < 500, what);
            await response.arrayBuffer();
          } else {
            await assertHarmless(response, what);
          }
        }
      }
    }
    await assertUnharmed();
  });

  it('fill each field of a JSON body', async () => {
    let asked = 0;
    for (const { path, method, operation } of operations()) {
      const body = resolve(operation.requestBody);
      const schema = resolve(body?.content?.['application/json']?.schema);
      const at = path.replaceAll('{name}', 'yolov8n').replaceAll('{version}', '1');
      for (const name of Object.keys(schema?.properties ?? {})) {
        for (const value of [...VALUES, null, -1, 1e308, [], {}, [[[]]], true]) {
          const response = await fetch(server.url + filled(at), {
            method,
            headers: { 'Content-Type': 'application/json' },
            body: JSON.stringify({ [name]: value }),
          });
          await assertHarmless(response, `${method} ${path} ${name}=${JSON.stringify(value).slice(0, 100)}`);
          asked++;
        }
      }
    }
    assert.ok(asked > 300, String(asked));
    await assertUnharmed();
  });

  it('send JSON that is too deep, too large or none', async () => {
    const deep = 100_000;
    const bodies = [
      '['.repeat(deep), '{"a":'.repeat(deep), `${'['.repeat(deep)}${']'.repeat(deep)}`,
      `{"video_id":${'['.repeat(deep)}${']'.repeat(deep)}}`,
      `{"parameters":${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}}`,
      `{"video_id":"${'x'.repeat(4 << 20)}"}`, `[${'0,'.repeat(1 << 20)}0]`,
      `{${Array.from({ length: 50_000 }, (_, i) => `"k${i}":0`).join(',')}}`,
      `{"video_id":1${'0'.repeat(100_000)}}`, '{"video_id":"\\u0000"}', '{"video_id":"\\ud800"}',
      '{"video_id":"a","video_id":"b"}', '\ufeff{}', '{"video_id":"a"}garbage', 'null', '"x"', '',
    ];
    for (const { path, method, operation } of operations()) {
      if (resolve(operation.requestBody)?.content?.['application/json'] === undefined) {
        continue;
      }
      const at = path.replaceAll('{name}', 'yolov8n').replaceAll('{version}', '1');
      for (const body of bodies) {
        const response = await fetch(server.url + filled(at), {
          method, headers: { 'Content-Type': 'application/json' }, body,
        });
        await assertHarmless(response, `${method} ${path} ${body.slice(0, 60)}`);
        assert.ok(response.status >= 400 || !/^(\[|\{"a":)/.test(body), `${method} ${path} ${body.slice(0, 60)}`);
      }
    }
    await assertUnharmed();
  });

  /** One request as it is written here; the whole answer. */
  const raw = (text) => new Promise((done, failed) => {
    const socket = net.connect(server.port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.setEncoding('latin1').on('data', (chunk) => { answer += chunk; });
    socket.once('close', () => done(answer)).once('error', failed);
  });

  it('ask for files in paths that no library has tidied', async () => {
    const paths = ['/../../../../etc/passwd', '/assets/../../canary.txt', '/assets/%2e%2e/%2e%2e/canary.txt',
      '//etc/passwd', '/..%5c..%5ccanary.txt', '/docs/../canary.txt', '/%00', '/assets/x%00.js', '/.%2e/canary.txt',
      '/api/v1/../../canary.txt', `/api/v1/videos/${video}/../../../canary.txt`,
      `/api/v1/jobs/${video}/results/..%2f..%2fcanary.txt`];
    for (const path of paths) {
      const answer = await raw(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 4\d\d /, path);
      assert.ok(!answer.includes(MARK) && !/root:[^:]*:0:0:/.test(answer), path);
    }
  });

  it('give files names that are paths or lines', async () => {
    const bytes = readFileSync(sharedPath('videos/car-detection.mp4'));
    const names = [...PATHS, ...LINES, ...SQL, ...FORMATS];
    // what the server makes for itself comes and goes; SQLite's journals among it
    const strangers = () => readdirSync(data.path)
      .filter((name) => !/^(nexus\.db.*|models|lib|objects|uploads|jobs|cache|canary\.txt)$/.test(name));
    const before = strangers();
    for (const [index, name] of names.entries()) {
      // the same video, so that it is kept once; each way must end in a plain name or a refusal
      const form = new FormData();
      form.append('video', new Blob([bytes]), name);
      const ways = [
        ['form', () => fetch(`${server.url}/api/v1/videos`, { method: 'POST', body: form })],
        ['query', () => fetch(`${server.url}/api/v1/videos?name=${encodeURIComponent(name)}`,
          { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: bytes })],
        ['tus', () => fetch(`${server.url}/api/v1/uploads`, { method: 'POST',
          headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': '10',
            'Upload-Metadata': `filename ${Buffer.from(name).toString('base64')}` } })],
      ];
      const [way, send] = ways[index % ways.length];
      const response = await send();
      await assertHarmless(response, `${way} ${name}`);
      const content = await fetch(`${server.url}/api/v1/videos/${video}/content`, { method: 'HEAD' });
      assert.equal(content.headers.get('x-injected'), null);
      assert.equal(content.headers.get('set-cookie'), null);
    }
    assert.deepEqual(strangers(), before);
    assert.ok(!existsSync(join(dirname(data.path), 'x')));
    await assertUnharmed();
  });

  it('give models names that are paths or lines', async () => {
    const bytes = tinyModel(['a', 'b']);
    const folders = () => readdirSync(join(data.path, 'models')).filter((name) => !name.startsWith('.')).sort();
    const before = folders();
    for (const name of [...PATHS, ...LINES, ...SQL, ...FORMATS, '.', '..', '.hidden', 'a/b', 'yolov8n/../../x']) {
      const form = new FormData();
      form.append('name', name);
      form.append('model', new Blob([bytes]), name);
      const ways = {
        query: { url: `/api/v1/models?name=${encodeURIComponent(name)}`,
          init: { method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: bytes } },
        form: { url: '/api/v1/models', init: { method: 'POST', body: form } },
      };
      for (const [way, { url, init }] of Object.entries(ways)) {
        const response = await fetch(server.url + url, init);
        const text = await assertHarmless(response, `${way} ${name}`);
        assert.ok([400, 415, 422].includes(response.status) || name === 'nexus.db', `${way} ${name}: ${response.status} ${text}`);
      }
    }
    assert.deepEqual(folders().filter((name) => name !== 'nexus.db'), before);
    assert.ok(!existsSync(join(dirname(data.path), 'x')));
    await assertUnharmed();
  });

  it('send the server to places of its own network', async () => {
    const places = ['http://127.0.0.1/', 'http://localhost:8000/', 'http://[::1]/', 'http://[::ffff:127.0.0.1]/',
      'http://0.0.0.0/', 'http://127.1/', 'http://2130706433/', 'http://0x7f000001/', 'http://017700000001/',
      'http://169.254.169.254/latest/meta-data/', 'http://100.100.100.200/', 'http://10.0.0.1/', 'http://192.168.1.1/',
      'http://[fd00::1]/', 'http://[fe80::1]/', 'http://user:password@example.org/', 'file:///etc/passwd',
      'gopher://127.0.0.1:6379/_FLUSHALL', 'ftp://127.0.0.1/', 'dict://127.0.0.1:6379/', 'javascript:alert(1)',
      'http://localhost./', 'http://example.org\r\nX-Injected: yes/', '//127.0.0.1/', 'http:///', 'http://'];
    const submit = (options) => fetch(`${server.url}/api/v1/videos/process`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(options),
    });
    for (const place of places) {
      for (const options of [{ video_id: video, webhook_url: place }, { path: place }, { video_id: place },
        { url: place }]) {
        const response = await submit(options);
        assert.ok([403, 404, 415, 422].includes(response.status), `${JSON.stringify(options)}: ${response.status}`);
        await assertHarmless(response, JSON.stringify(options));
      }
    }
    for (const path of PATHS) {
      const response = await submit({ path });
      assert.ok([403, 404, 422].includes(response.status), path);
      await assertHarmless(response, path);
    }
    const { items } = await (await fetch(`${server.url}/api/v1/jobs`)).json();
    assert.deepEqual(items, []);
  });

  it('send cookies of every shape', async () => {
    const rest = 'Host: localhost\r\nConnection: close\r\n';
    const asked = (cookies) => new Promise((resolve) => {
      let answer = '';
      const socket = net.connect(server.port, '127.0.0.1');
      socket.setEncoding('latin1').on('data', (chunk) => { answer += chunk; });
      socket.on('close', () => resolve(answer));
      socket.on('error', () => {}); // it may close before it has read all
      const lines = cookies.map((cookie) => `Cookie: ${cookie}\r\n`).join('');
      socket.write(Buffer.from(`GET /api/v1/models HTTP/1.1\r\n${rest}${lines}\r\n`, 'latin1'));
    });
    const shapes = ['', '=', '=;', 'a', ';;', 'a="b', 'a="b"c', 'a=b;c', 'a=b,c=d', 'a b=c', 'a=\xff', '\xff=1',
      'a=b; ;c=d', '$Version="1"; a="b"; $Path="/"', '$Version', '"a"=b', 'a==b', 'a=b\\c', 'a=b;', 'a={"x":1}',
      'a=%00', '(a)=b', 'nexus_session=', 'nexus_session="x', 'nexus_session=\xe4; nexus_session=y', ',', 'a="b;c"',
      'a="b\\"c"', `a=${'x'.repeat(7000)}`, 'x'.repeat(4000), 'a=b;'.repeat(50)];
    for (const cookie of shapes) {
      const answer = await asked([cookie]);
      assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/, JSON.stringify(cookie));
    }
    assert.match(await asked(['a=b', 'c="d', 'nexus_session=z']), /^HTTP\/1\.1 200 OK\r\n/);
    for (const cookie of ['a=b\x01', 'a=\x7f']) {
      assert.match(await asked([cookie]), /^HTTP\/1\.1 400 [^]*application\/problem\+json/);
    }
    // libmicrohttpd refuses these by itself, before anybody is asked: see src/http/README.md
    for (const cookie of ['a="', 'nexus_session="', 'a=b;'.repeat(2000), `a=${'x'.repeat(60_000)}`]) {
      assert.match(await asked([cookie]), /^(HTTP\/1\.1 (200|431) |$)/, JSON.stringify(cookie.slice(0, 20)));
    }
    await assertUnharmed();
  });

  it('leave no failure behind', async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    assert.deepEqual(text.split('\n').filter((line) => /^http_requests_total\{.*status="500"/.test(line)), []);
    assert.ok(await metric(server.url, 'process_memory_bytes') > 0);
    assert.ok(!server.logs().includes(MARK));
  });
});
