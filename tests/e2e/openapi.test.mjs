// Holds the server against openapi.yaml: each answer's status, media type, headers and body are
// those that the document promises for the operation.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { PASSWORD, setUpToken } from './lib/accounts.mjs';
import { samDataDir } from './lib/sam.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const image = '/api/v1/inference/image';
const batch = '/api/v1/inference/batch';
const segment = '/api/v1/inference/segment';
const file = (name) => readFileSync(sharedPath(`images/${name}`));
const json = (value) => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(value),
});
const raw = (name, headers = {}) => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/octet-stream', ...headers },
  body: file(name),
});
function form(...names) {
  const body = new FormData();
  for (const name of names) {
    body.append('image', new Blob([file(name)]), name);
  }
  return { method: 'POST', body };
}

describe('openapi.json', { skip }, () => {
  let server;
  let data;
  let document;
  let ajv;

  before(async () => {
    data = samDataDir();
    const env = { RUN_JOBS: 'false', WEBHOOK_ALLOW_PRIVATE: 'true' };
    server = await startServer({ args: ['--data-dir', data.path], env });
    document = await (await fetch(`${server.url}/openapi.json`)).json();
    ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
    ajv.addSchema(document, 'openapi');
  });
  after(async () => {
    await server?.stop();
    data?.remove();
  });

  /** Follows a $ref at pointer, if there is one. Returns [pointer, object]. */
  function resolve(pointer) {
    const find = (at) =>
      at
        .split('/')
        .slice(1)
        .reduce((node, key) => node?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], document);
    const { $ref } = find(pointer) ?? {};
    return $ref ? [$ref.slice(1), find($ref.slice(1))] : [pointer, find(pointer)];
  }

  /** Asks, and checks the answer against what the document says about path, method and status. */
  async function ask(path, init, status, documented = path) {
    const response = await fetch(server.url + path, init);
    const body = Buffer.from(await response.arrayBuffer());
    assert.equal(response.status, status, body.toString().slice(0, 500));
    const template = documented.split('?')[0].replaceAll('/', '~1');
    const method = (init?.method ?? 'GET').toLowerCase();
    const [pointer, promise] = resolve(`/paths/${template}/${method}/responses/${status}`);
    assert.ok(promise, `${method} ${path} documents no ${status}`);

    const type = response.headers.get('content-type').split(';')[0];
    assert.ok(promise.content[type], `${method} ${path} ${status} documents no ${type}`);
    if (promise.headers?.['Retry-After'] || promise.headers?.Allow) {
      const name = promise.headers.Allow ? 'allow' : 'retry-after';
      assert.ok(response.headers.get(name), `${status} without ${name}`);
    }
    if (!type.endsWith('json')) {
      return { response, body };
    }
    const schema = `${pointer}/content/${type.replaceAll('/', '~1')}/schema`;
    const valid = ajv.compile({
      $ref: `openapi#${schema.split('/').map(encodeURIComponent).join('/')}`,
    });
    const value = JSON.parse(body.toString());
    assert.ok(valid(value), `${method} ${path} ${status}: ${ajv.errorsText(valid.errors)}`);
    return { response, value };
  }

  it('describes health, metrics and itself', async () => {
    await ask('/health', undefined, 200);
    await ask('/health/ready', undefined, 200);
    await ask('/openapi.json', undefined, 200);
    const { body } = await ask('/metrics', undefined, 200);
    assert.match(body.toString(), /^# HELP /m);
  });

  it('describes the answers about one picture', async () => {
    const nexus = await ask(image, raw('bus.jpg'), 200);
    assert.equal(nexus.value.detections.length, 5);
    assert.equal(nexus.response.headers.get('x-request-id'), nexus.value.request_id);
    await ask(`${image}?confidence=0.5&classes=person,5&max_detections=2`, form('bus.jpg'), 200);
    const base64 = file('bus.jpg').toString('base64');
    await ask(image, json({ image: base64, classes: ['person', 5], iou: 0.6 }), 200);
    const coco = await ask(`${image}?format=coco`, raw('bus.jpg'), 200);
    assert.equal(coco.value.length, 5);
    const csv = await ask(`${image}?format=csv`, raw('bus.jpg'), 200);
    assert.equal(csv.response.headers.get('content-type').split(';')[0], 'text/csv');
    const yolo = await ask(`${image}?format=yolo`, raw('bus.jpg'), 200);
    assert.match(yolo.body.toString(), /^(\d+( 0\.\d+){5}\n){5}$/);
    for (const type of ['image/jpeg', 'image/png']) {
      const picture = await ask(image, raw('bus.jpg', { Accept: type }), 200);
      assert.equal(picture.response.headers.get('content-type'), type);
      assert.equal(picture.response.headers.get('x-nexus-detections'), '5');
    }
  });

  it('describes streams', async () => {
    const send = (method, value) => ({ ...json(value), method });
    const wanted = { name: 'gate', url: 'rtsp://me:password@192.0.2.1/cam', enabled: false };
    const routes = '/api/v1/streams';
    const { value } = await ask(routes, send('POST', { ...wanted, url: 'rtsp://me:password@10.0.0.9/cam' }), 201);
    await ask(routes, send('POST', { ...wanted, url: 'rtsp://10.0.0.9/cam' }), 409);
    await ask(routes, send('POST', wanted), 422);
    await ask(routes, send('POST', { ...wanted, name: 'x', url: 'rtsp://10.0.0.9/', model: 'none' }), 404);
    await ask(routes, { method: 'POST', body: '{', headers: { 'Content-Type': 'application/json' } }, 400);
    await ask(routes, undefined, 200);
    const one = `${routes}/{id}`;
    await ask(`${routes}/${value.id}`, undefined, 200, one);
    await ask(`${routes}/${value.id}`, send('PATCH', { fps: 5, schedule: [{ days: ['sun'] }] }), 200, one);
    for (const live of ['events', 'frame.jpeg', 'live.mjpeg', 'live.mp4']) {
      await ask(`${routes}/${value.id}/${live}`, undefined, 409, `${one}/${live}`);
    }
    const gone = await fetch(`${server.url}${routes}/${value.id}`, { method: 'DELETE' });
    assert.equal(gone.status, 204);
    await ask(`${routes}/${value.id}`, undefined, 404, one);
  });

  it('describes the KServe protocol', async () => {
    const post = (value) => ({ method: 'POST', body: JSON.stringify(value) });
    const pixel = file('odd/1x1.png').toString('base64');
    const good = { inputs: [{ name: 'image', shape: [1], datatype: 'BYTES', data: [pixel] }] };
    for (const path of ['/v2', '/v2/health/live', '/v2/health/ready', '/v2/models/stats']) {
      await ask(path, undefined, 200);
    }
    for (const [of, model] of [['{name}', 'yolov8n'], ['{name}/versions/{version}', 'yolov8n/versions/1']]) {
      for (const part of ['', '/ready', '/config', '/stats']) {
        await ask(`/v2/models/${model}${part}`, undefined, 200, `/v2/models/${of}${part}`);
        await ask(`/v2/models/no${model}${part}`, undefined, 404, `/v2/models/${of}${part}`);
      }
      const { value } = await ask(`/v2/models/${model}/infer`, post(good), 200, `/v2/models/${of}/infer`);
      assert.equal(value.model_name, 'yolov8n');
      await ask(`/v2/models/no${model}/infer`, post(good), 404, `/v2/models/${of}/infer`);
      await ask(`/v2/models/${model}/infer`, post({}), 400, `/v2/models/${of}/infer`);
      const packed = { ...post(good), headers: { 'Content-Encoding': 'gzip' } };
      await ask(`/v2/models/${model}/infer`, packed, 415, `/v2/models/${of}/infer`);
    }
    await ask('/v2/repository/index', post({ ready: true }), 200);
    await ask('/v2/repository/index', post([]), 400);
    for (const verb of ['load', 'unload']) {
      const template = `/v2/repository/models/{name}/${verb}`;
      await ask(`/v2/repository/models/none/${verb}`, post({}), 404, template);
    }
  });

  it('describes the answers about many pictures', async () => {
    const mixed = await ask(batch, form('bus.jpg', 'odd/truncated.jpg', 'zidane.jpg'), 200);
    assert.deepEqual(mixed.value.items.map(({ status }) => status), ['ok', 'error', 'ok']);
    const pixel = file('odd/1x1.png').toString('base64');
    const named = await ask(batch, json({ images: [{ id: 'door', image: pixel }, { image: pixel }] }), 200);
    assert.deepEqual(named.value.items.map(({ source }) => source), ['door', null]);
    await ask(batch, json({ images: [] }), 400);
    await ask(batch, json({ images: Array(101).fill({ image: pixel }) }), 413);
    await ask(batch, raw('bus.jpg'), 415);
  });

  it('describes the answers about masks', async () => {
    const first = await ask(`${segment}?point=400,300`, raw('bus.jpg'), 200);
    const { image_id } = first.value;
    for (const mask_format of ['rle', 'polygon', 'png']) {
      await ask(segment, json({ image_id, points: [[150, 650]], mask_format }), 200);
    }
    const boxes = [[54, 397, 235, 902]];
    await ask(segment, json({ image_id, boxes, multimask: true }), 200);
    const mask = await ask(`${segment}?box=54,397,235,902`, raw('bus.jpg', { Accept: 'image/png' }), 200);
    assert.equal(mask.response.headers.get('x-nexus-image-id'), image_id);
    await ask(`${segment}?box=54,397,235,902`, raw('bus.jpg', { Accept: 'image/jpeg' }), 200);
    await ask(segment, json({ points: [[1, 1]] }), 400);
    await ask(segment, json({ image_id: 'f'.repeat(64), points: [[1, 1]] }), 404);
    await ask(segment, json({ image_id, points: [[9999, 1]] }), 422);
  });

  it('describes the refusals', async () => {
    await ask(`${image}?confidence=high`, raw('bus.jpg'), 400);
    await ask(`${image}?model=none`, raw('bus.jpg'), 404);
    await ask(image, raw('bus.jpg', { Accept: 'application/xml' }), 406);
    await ask(image, raw('odd/bomb-20000x20000.png'), 413);
    await ask(image, raw('odd/plain.bmp'), 415);
    await ask(image, raw('odd/truncated.jpg'), 422);
    await ask(`${image}?confidence=2`, raw('bus.jpg'), 422);
  });

  it('describes the models', async () => {
    const { value } = await ask('/api/v1/models', undefined, 200);
    const { name } = value.items.find((model) => model.default);
    const at = (rest = '') => [`/api/v1/models/${name}${rest}`, `/api/v1/models/{name}${rest}`];
    const askAt = ([path, template], init, status) => ask(path, init, status, template);
    const shown = await askAt(at(), undefined, 200);
    assert.equal(shown.value.classes.length, 80);
    await ask('/api/v1/models?limit=0', undefined, 422);
    await ask('/api/v1/models/none', undefined, 404, '/api/v1/models/{name}');
    await askAt(at('/load'), { method: 'POST' }, 200);
    await askAt(at('/unload'), { method: 'POST' }, 409);
    await askAt(at(), { method: 'DELETE' }, 409);
    const text = { method: 'POST', body: 'text' };
    const octets = { ...text, headers: { 'Content-Type': 'application/octet-stream' } };
    await ask('/api/v1/models?name=doors', octets, 422);
    await ask('/api/v1/models?name=doors', text, 415);
  });

  it('describes videos, jobs and uploads', async () => {
    const cars = readFileSync(sharedPath('videos/car-detection.mp4'));
    const upload = (body, type) => ({ method: 'POST', headers: { 'Content-Type': type }, body });
    const made = await ask('/api/v1/videos?name=cars.mp4', upload(cars, 'video/mp4'), 201, '/api/v1/videos');
    const { id } = made.value;
    await ask('/api/v1/videos', upload(cars, 'application/octet-stream'), 200);
    await ask('/api/v1/videos', upload('text', 'text/plain'), 415);
    await ask('/api/v1/videos?limit=1', undefined, 200);
    await ask('/api/v1/videos?limit=0', undefined, 422);
    await ask(`/api/v1/videos/${id}`, undefined, 200, '/api/v1/videos/{id}');
    await ask('/api/v1/videos/none', undefined, 404, '/api/v1/videos/{id}');
    const content = '/api/v1/videos/{id}/content';
    await ask(`/api/v1/videos/${id}/content`, undefined, 200, content);
    const range = (text) => ({ headers: { Range: text } });
    await ask(`/api/v1/videos/${id}/content`, range('bytes=0-9'), 206, content);
    await ask(`/api/v1/videos/${id}/content`, range('bytes=99999999-'), 416, content);

    const process = '/api/v1/videos/process';
    const order = { video_id: id, classes: ['car'], webhook_url: 'http://127.0.0.1:9/' };
    const { value: job } = await ask(process, json(order), 202);
    await ask(process, json({ video_id: id, class: 'car' }), 422);
    await ask(process, json({ video_id: id, model: 'none' }), 404);
    await ask(process, json([]), 400);
    await ask('/api/v1/jobs?state=queued', undefined, 200);
    const one = '/api/v1/jobs/{id}';
    await ask(`/api/v1/jobs/${job.id}`, undefined, 200, one);
    await ask(`/api/v1/videos/${id}`, { method: 'DELETE' }, 409, '/api/v1/videos/{id}');
    await ask(`/api/v1/jobs/${job.id}/retry`, { method: 'POST' }, 409, `${one}/retry`);
    await ask(`/api/v1/jobs/${job.id}`, { method: 'DELETE' }, 200, one);
    await ask(`/api/v1/jobs/${job.id}/events`, undefined, 200, `${one}/events`);
    const told = await ask(`/api/v1/jobs/${job.id}/webhooks`, undefined, 200, `${one}/webhooks`);
    assert.equal(told.value.items.length, 1);
    await ask('/api/v1/jobs/none/webhooks', undefined, 404, `${one}/webhooks`);
    await ask(`/api/v1/jobs/${job.id}/results/none`, undefined, 404, `${one}/results/{file}`);
    await ask(`/api/v1/jobs/${job.id}/retry`, { method: 'POST' }, 202, `${one}/retry`);

    const tus = { 'Tus-Resumable': '1.0.0', 'Upload-Length': '10' };
    await ask('/api/v1/uploads', { method: 'POST' }, 412);
    const begun = await fetch(`${server.url}/api/v1/uploads`, { method: 'POST', headers: tus });
    assert.equal(begun.status, 201);
    await ask(begun.headers.get('location'), undefined, 200, '/api/v1/uploads/{id}');
  });

  it('lists the methods that each route has', async () => {
    const missing = await fetch(`${server.url}/api/v1/none`);
    assert.equal(missing.status, 404);
    const fits = (template, path) =>
      new RegExp(`^${template.replace(/\{\w+\}/g, '[^/]+')}$`).test(path);
    for (const path of Object.keys(document.paths)) {
      // a path such as /videos/process fits /videos/{id} as well
      const operations = Object.assign(
        {},
        ...Object.keys(document.paths)
          .filter((template) => fits(template, path))
          .map((template) => document.paths[template]),
      );
      const method = operations.put ? 'PATCH' : 'PUT'; // which no such route has
      const refused = await fetch(server.url + path, { method });
      assert.equal(refused.status, 405, path);
      const allow = refused.headers.get('allow').split(', ').filter((m) => m !== 'HEAD');
      const documented = Object.keys(operations).filter((key) => key !== 'parameters');
      assert.deepEqual(allow.sort(), documented.map((m) => m.toUpperCase()).sort(), path);
    }
  });

  // the last one: it ends open use
  it('describes the accounts', async () => {
    const patch = (value, headers) => ({ ...json(value), method: 'PATCH', headers: { ...json({}).headers, ...headers } });
    const post = (value, headers) => ({ ...json(value), headers: { ...json({}).headers, ...headers } });
    const [login, setup, users, keys] = ['auth/login', 'auth/setup', 'users', 'keys'].map((at) => `/api/v1/${at}`);
    const local = await ask('/api/v1/auth/me', undefined, 200);
    assert.equal(local.value.kind, 'local');
    await ask('/api/v1/models', { headers: { Origin: 'https://evil.example' } }, 403);
    await ask(setup, undefined, 200);
    const first = { name: 'ann', password: PASSWORD };
    await ask(setup, post({ ...first, token: 'nxi_wrong' }), 403);
    await ask(keys, post({ name: 'k', scopes: ['read'] }), 409);
    const made = await ask(setup, post({ ...first, token: await setUpToken(server) }), 201);
    assert.ok(made.response.headers.get('set-cookie'));
    await ask('/api/v1/models', undefined, 401);
    await ask(login, post({ ...first, password: 'wrong password' }), 401);
    await ask(login, post({ name: 1 }), 422);
    const signedIn = await ask(login, post(first), 200);
    const [cookie] = signedIn.response.headers.get('set-cookie').split(';');
    const headers = { Cookie: cookie, 'X-CSRF-Token': signedIn.value.csrf_token };
    await ask('/api/v1/auth/me', { headers }, 200);
    await ask('/api/v1/auth/password', post({ old_password: 'wrong password', new_password: PASSWORD }, headers), 401);
    await ask('/api/v1/auth/logout', { method: 'POST', headers: { Origin: 'https://evil.example' } }, 403);

    const { value: settings } = await ask('/api/v1/settings', { headers }, 200);
    assert.ok(settings.items.length > 50);
    const user = '/api/v1/users/{id}';
    const { value: bob } = await ask(users, post({ name: 'bob', password: PASSWORD, role: 'viewer' }, headers), 201);
    await ask(users, post({ name: 'bob', password: PASSWORD, role: 'viewer' }, headers), 409);
    await ask(users, post({ name: 'a b', password: PASSWORD, role: 'viewer' }, headers), 422);
    await ask(users, { headers }, 200);
    await ask(`${users}/${bob.id}`, { headers }, 200, user);
    await ask(`${users}/${bob.id}`, patch({ role: 'operator' }, headers), 200, user);
    await ask(`${users}/ann`, patch({ role: 'operator' }, headers), 409, user);
    await ask(`${users}/none`, { method: 'DELETE', headers }, 404, user);

    const { value: key } = await ask(keys, post({ name: 'k', scopes: ['read'] }, headers), 201);
    await ask(keys, post({ name: 'k', scopes: ['none'] }, headers), 422);
    await ask(keys, { headers }, 200);
    await ask(users, { headers: { 'X-API-Key': key.key } }, 403);
    await ask('/v2/models/yolov8n', undefined, 401, '/v2/models/{name}');
    await ask(`${keys}/none`, { method: 'DELETE', headers }, 404, `${keys}/{id}`);
    const gone = await fetch(`${server.url}${keys}/${key.id}`, { method: 'DELETE', headers });
    assert.equal(gone.status, 204);
  });
});
