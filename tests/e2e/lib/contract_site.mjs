// A server with something of each kind in it, and people of each role, for requests by its own
// document: what the document can't know, the site does (who there is, what a model or a video is).

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addKey, addUser, ask, json, PASSWORD, setUp, signIn } from './accounts.mjs';
import { makeDataDir } from './data_dir.mjs';
import { eventually, sharedPath, startServer } from './server.mjs';
import { drawSquares } from './squares.mjs';
import { tinyModel, writeTinyModel } from './tiny_model.mjs';

const SECRET = 'only-this-server-knows';
const CAMERA_PASSWORD = 'only-the-camera-knows';
const ROLES = ['viewer', 'operator', 'admin'];
const SCOPES = ['read', 'infer', 'videos', 'models', 'metrics', 'admin'];
const POOL = 24;
const TUS = { 'Tus-Resumable': '1.0.0' };
const zone = { name: 'all', polygon: [[0, 0], [1, 0], [1, 1], [0, 1]] };
const line = { name: 'middle', from: [0.5, 1], to: [0.5, 0], classes: ['red'] };
const rule = { name: 'came', kind: 'object_appeared', classes: ['red', 'blue'], cooldown: 0 };

/** A second of a red square on gray, and one that blinks, so that it appears again and again. */
function makeVideo(path, size, blink) {
  const square = { colour: 'red', size: '32x32', x: '8+t*8', y: '8', shown: blink ? 'lt(mod(t,0.8),0.4)' : '1' };
  drawSquares(path, blink ? 8 : 1, [square], { size: `${size}x${size}`, fps: 10, more: ['-g', '10', '-bf', '0'] });
  return readFileSync(path);
}

function form(random, parts) {
  const boundary = `part-${random.below(1e9)}`;
  const chunks = parts.flatMap(([name, value, filename]) => [
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}\r\n\r\n`,
    value, '\r\n']);
  return { type: `multipart/form-data; boundary=${boundary}`, body: Buffer.concat([...chunks, `--${boundary}--\r\n`].map((c) => Buffer.from(c))) };
}

export async function startContractSite(random) {
  const data = makeDataDir({
    'mobile-sam/1/encoder.onnx': 'models/mobile_sam_encoder.onnx',
    'mobile-sam/1/decoder.onnx': 'models/mobile_sam_decoder.onnx',
  });
  writeTinyModel(join(data.path, 'models/tiny.onnx'));
  const videos = [64, 96].map((size) => makeVideo(join(data.path, `squares-${size}.mp4`), size));
  makeVideo(join(data.path, 'loop.mp4'), 128, true);
  const server = await startServer({
    args: ['--data-dir', data.path, '--model', 'tiny'],
    env: {
      DATABASE_URL: '', OBJECTS_URL: '', REDIS_URL: '', NEXUS_SAM_MODEL: 'mobile-sam',
      RATE_LIMIT: 'false', // whatever comes is to be looked at
      TRUSTED_PROXIES: '127.0.0.1', // nobody is "on this machine"
      CACHE_TTL_PREDICTIONS: '60', CONCURRENCY: '1', STREAMS_AT_ONCE: '1', EVENT_CLIP_SECONDS: '1',
      STREAM_FILES_DIR: data.path, VIDEO_FOLDERS: data.path, WEBHOOK_ALLOW_PRIVATE: 'true',
      MAX_VIDEO_BYTES: '4m', MAX_MODEL_BYTES: '4m', REQUEST_TIMEOUT: '10',
      AWS_SECRET_ACCESS_KEY: SECRET, WEBHOOK_SECRET: SECRET,
    },
  });

  // who asks
  const admin = await setUp(server, 'admin');
  await addUser(server, admin, 'viewer', 'viewer');
  await addUser(server, admin, 'operator', 'operator');
  const guest = await addUser(server, admin, 'guest', 'viewer');
  const sessions = { admin, viewer: await signIn(server, 'viewer'), operator: await signIn(server, 'operator') };
  const person = (role, more = {}) =>
    ({ name: `the ${role}`, role, scopes: sessions[role].me.scopes, headers: sessions[role].headers, session: true, ...more });
  const keys = [];
  for (const scope of SCOPES) {
    keys.push([await addKey(server, admin, [scope]), 'admin', [scope]]);
  }
  keys.push([await addKey(server, admin, ['read'], { user: 'viewer' }), 'viewer', ['read']]);
  const people = [
    { name: 'nobody', headers: {} },
    { name: 'a stranger with a key', headers: { 'X-API-Key': `nxk_${'x'.repeat(40)}` }, bad: true },
    { name: 'a stranger with a session', headers: { Cookie: 'nexus_session=nxs_none' }, bad: true },
    person('admin', { name: "the admin's browser on another site", headers: admin.cookie, noToken: true }),
    ...ROLES.map((role) => person(role)),
    ...keys.map(([{ headers }, role, scopes]) => ({ name: `the ${role}'s key for ${scopes}`, role, scopes, headers, key: true })),
  ];
  const secrets = [PASSWORD, SECRET, CAMERA_PASSWORD, ...Object.values(sessions).map(({ token }) => token), ...keys.map(([{ key }]) => key)];

  // what there is
  const stream = (await ask(server, '/api/v1/streams', json('POST', {
    name: 'loop', url: 'file:loop.mp4', fps: 10, confidence: 0.3, zones: [zone], lines: [line],
    rules: [rule, { name: 'in', kind: 'zone_entered', zone: 'all' }],
  }, admin.headers))).value.id;
  let event;
  await eventually(async () => {
    const { value } = await ask(server, '/api/v1/events?limit=200', { headers: admin.headers });
    event = value.items.findLast(({ clip, snapshot }) => clip !== null && snapshot !== null)?.id;
    return event !== undefined;
  }, 'an event has a clip', 60_000);
  const pools = { stream: [], video: [], job: [], upload: [], user: [], key: [], model: ['tiny', 'mobile-sam'],
    event: [event], file: ['frames.ndjson', 'summary.json', 'frames.ndjson.zst', 'counts.csv'], cursor: [], image: [] };
  const put = (kind, ...values) => {
    for (const value of values.filter((v) => v !== undefined && v !== null && !pools[kind].includes(v))) {
      pools[kind].push(value);
      if (pools[kind].length > POOL) {
        pools[kind].splice(kind === 'model' ? 2 : 0, 1);
      }
    }
  };
  const fromPool = (kind) => (pools[kind].length > 0 ? random.pick(random.chance(0.5) ? pools[kind].slice(-2) : pools[kind]) : undefined);

  function pathPool({ path, method, operationId }, name) {
    if (name !== 'id') {
      const model = { setModelAccess: 'guarded', grantModel: 'guarded', revokeModel: 'guarded', kserveInfer: random.pick(['tiny', 'tiny.image']) }[operationId];
      return { name: model ?? (method === 'DELETE' ? pools.model.slice(2).at(-1) : fromPool('model')), version: '1', file: fromPool('file'),
        subject: random.chance(0.5) ? guest.id : fromPool('user') }[name];
    }
    const kind = path.split('/')[3].replace(/s$/, '');
    // the one that runs is looked at, and those that do not are changed
    return kind === 'stream' && method === 'GET' && random.chance(0.6) ? stream : fromPool(kind);
  }

  const pixel = readFileSync(sharedPath('images/odd/1x1.png'));
  const picture = readFileSync(sharedPath('images/odd/wide-2000x8.jpg'));
  /** What a name stands for, whatever its schema: 80 of 100 are such that there is one. */
  function known(name, schema, { operationId }) {
    if (name === 'level') { // nothing is public: so who may not is refused
      return random.pick(['authenticated', 'private']);
    }
    if (random.chance(0.15)) {
      return undefined;
    }
    const nullable = (value) => value ?? undefined;
    switch (name) {
      case 'schedule': return [{ days: ['sat', 'sun'], from: '22:00', to: '06:30' }];
      case 'track': return true;
      case 'version': return operationId === 'optimizeModel' ? undefined : 1;
      case 'image': return operationId.startsWith('kserve') ? undefined : pixel.toString('base64');
      case 'image_id': return operationId === 'segmentImage' ? fromPool('image') : undefined;
      case 'video_id': return nullable(fromPool('video'));
      case 'path': return undefined;
      case 'model': return operationId === 'segmentImage' ? 'mobile-sam' : random.pick(['tiny', 'tiny:1']);
      case 'classes': return operationId === 'addStream' || operationId === 'changeStream' ? random.pick([['red'], 'red,blue', [0, 'blue']]) : ['red', 'blue'];
      case 'user': return random.pick(['guest', 'viewer', guest.id]);
      case 'user_id': return guest.id;
      case 'key_id': return undefined;
      case 'url': return random.pick([`rtsp://me:${CAMERA_PASSWORD}@camera.invalid/${random.below(1e6)}`, 'http://camera.invalid/mjpeg']);
      case 'webhook_url': return 'http://127.0.0.1:9/hook';
      case 'zones': return [zone];
      case 'lines': return [line];
      case 'rules': return [{ name: 'lost', kind: 'camera_lost', seconds: 5 }];
      case 'cursor': return operationId === 'listEvents' ? undefined : fromPool('cursor');
      case 'since': case 'until': return random.pick(['24h', '2026-01-31T12:00:00Z', '7d']);
      case 'password': case 'old_password': case 'new_password': return PASSWORD;
      case 'name': return ['signIn', 'setUp'].includes(operationId) ? 'guest' : `n${random.below(1e9)}`;
      case 'point': case 'box': return [name === 'box' ? '0,0,1,1' : '0.5,0.5,1'];
      case 'points': return [{ x: 0.5, y: 0.5 }, [0.25, 0.25, 0]].slice(0, random.between(1, 2));
      case 'boxes': return [[0, 0, 1, 1]];
      case 'Range': return random.pick(['bytes=0-9', 'bytes=5-', 'bytes=-5', 'bytes=99999999-']);
      case 'user-agent': return undefined;
      default: return undefined;
    }
  }

  const kserve = () => {
    const image = { name: 'image', shape: [1], datatype: 'BYTES', data: [pixel.toString('base64')] };
    const tensor = { name: 'images', shape: [1, 3, 64, 64], datatype: 'FP32', data: Array(3 * 64 * 64).fill(0) };
    const input = random.chance(0.7) ? image : tensor;
    const name = input === image ? random.pick(['tiny', 'tiny.image']) : 'tiny';
    return { path: { name }, type: 'application/json', body: Buffer.from(JSON.stringify({ id: 'a', inputs: [input] })), headers: {} };
  };
  const upload = () => {
    const from = fromPool('upload');
    const { bytes, offset } = from === undefined ? { bytes: videos[0], offset: 0 } : uploads.get(from);
    const end = random.chance(0.6) ? bytes.length : random.between(offset, bytes.length);
    return { path: { id: from }, type: 'application/offset+octet-stream', body: bytes.subarray(offset, end),
      headers: { ...TUS, 'Upload-Offset': String(offset) } };
  };
  const uploads = new Map();
  const pictures = () => random.pick([
    { type: 'image/png', body: pixel }, { type: 'image/jpeg', body: picture },
    form(random, [['image', pixel, 'pixel.png'], ['confidence', '0.5']])]);
  /** Bodies that no schema makes. Half the time those of JSON are left to theirs. */
  const bodies = {
    detectImage: () => (random.chance(0.5) ? {} : pictures()),
    detectBatch: () => (random.chance(0.5) ? {} : form(random, [['a', pixel, 'a.png'], ['b', picture, 'b.jpg'], ['c', 'none', 'c']])),
    segmentImage: () => (random.chance(0.5) ? { json: { image: pixel.toString('base64'), points: [[0.5, 0.5]], image_id: undefined }, query: { image_id: [] } }
      : { type: 'image/png', body: pixel, query: { point: '0.5,0.5', image_id: [] } }),
    addModel: () => {
      const [name, bytes] = [random.pick(['doors', 'gate', 'yard']), tinyModel(['red', 'blue'], random.pick([0.5, 1]))];
      return random.chance(0.7) ? { type: 'application/octet-stream', body: bytes, query: { name } }
        : form(random, [['name', name], ['model', bytes, 'best.onnx']]);
    },
    addVideo: () => random.pick([{ type: 'video/mp4', body: random.pick(videos) }, { type: 'application/octet-stream', body: random.pick(videos) },
      form(random, [['video', random.pick(videos), 'a.mp4']])]),
    processVideo: () => {
      const json = random.pick([{ path: join(data.path, 'squares-64.mp4') }, { video_id: fromPool('video'), outputs: ['csv', 'counts'] }]);
      return random.pick([{ type: 'application/json', body: Buffer.from(JSON.stringify(json)) }, {},
        form(random, [['video', videos[1], 'b.mp4'], ['options', '{"stride":2}']])]);
    },
    listEvents: () => (random.chance(0.3) ? {} // else all of them
      : { query: Object.fromEntries(['stream', 'kind', 'class', 'place', 'rule', 'since', 'until', 'cursor'].map((name) => [name, []])) }),
    addUpload: () => ({ headers: { ...TUS, 'Upload-Length': String(videos[0].length), 'Upload-Metadata': `filename ${Buffer.from('ä.mp4').toString('base64')}` } }),
    continueUpload: upload,
    removeUpload: () => ({ headers: TUS }),
    kserveInfer: kserve,
    kserveInferVersion: kserve,
  };

  /** Takes what an answer tells of into the pools. */
  function learn(request, { status, headers, value }) {
    const { operationId } = request.operation;
    if (status >= 300) {
      return;
    }
    put('cursor', value?.next_cursor);
    if (operationId.startsWith('remove') || operationId === 'revokeKey') { // mostly; some are asked for again
      for (const pool of Object.values(pools)) {
        const at = pool.indexOf(Object.values(request.path)[0]);
        if (at >= 0 && random.chance(0.8)) {
          pool.splice(at, 1);
        }
      }
    }
    switch (operationId) {
      case 'addVideo': put('video', value.id); break;
      case 'addStream': put('stream', value.id); break;
      case 'processVideo': put('job', value.id); put('video', value.video_id); break;
      case 'getJob': put('file', ...(value?.results ?? []).map(({ name }) => name)); break;
      case 'addUser': put('user', random.pick([value.id, value.name])); break;
      case 'addKey': put('key', value.id); secrets.push(value.key); break;
      case 'addModel': put('model', value.name); break;
      case 'segmentImage': put('image', value?.image_id); break;
      case 'listEvents': put('event', ...value?.items?.map(({ id }) => id).slice(-3) ?? []); break;
      case 'addUpload': {
        const id = headers.location.split('/').at(-1);
        uploads.set(id, { bytes: videos[0], offset: 0 });
        put('upload', id);
        break;
      }
      case 'continueUpload': {
        const at = uploads.get(request.path.id);
        if (at !== undefined && headers['upload-offset'] !== undefined) {
          at.offset = Number(headers['upload-offset']);
        }
        break;
      }
      default:
    }
  }

  return {
    server, people, secrets: () => secrets, known, bodies, pathPool, learn, admin,
    async stop() {
      const code = await server.stop();
      data.remove();
      return code;
    },
  };
}
