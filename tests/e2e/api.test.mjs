// The API on the real binary: every way to send a picture, every form of answer, every problem.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const IMAGE = '/api/v1/inference/image';
const BATCH = '/api/v1/inference/batch';
const picture = (name) => readFileSync(sharedPath(`images/${name}`));

// DATA.md, yolov8n on bus.jpg: class, confidence, x1, y1, x2, y2.
const BUS = [
  ['person', 0.901, 671, 383, 810, 881],
  ['person', 0.887, 221, 407, 343, 856],
  ['person', 0.868, 50, 398, 244, 905],
  ['bus', 0.836, 33, 230, 793, 751],
  ['person', 0.424, 0, 549, 61, 867],
];

function iou(a, b) {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  const common = Math.max(0, width) * Math.max(0, height);
  const area = (c) => (c.x2 - c.x1) * (c.y2 - c.y1);
  return common / (area(a) + area(b) - common);
}

function assertBus(detections) {
  assert.equal(detections.length, BUS.length);
  for (const [i, [name, confidence, x1, y1, x2, y2]] of BUS.entries()) {
    const found = detections[i];
    assert.equal(found.class_name, name);
    assert.equal(found.class_id, name === 'bus' ? 5 : 0);
    assert.ok(Math.abs(found.confidence - confidence) < 0.02, `${i}: ${found.confidence}`);
    const overlap = iou(found.box, { x1, y1, x2, y2 });
    assert.ok(overlap > 0.95, `${i}: IoU ${overlap}`);
  }
}

/** JPEG and PNG carry their size in the header; enough to see that a picture is one. */
function sizeOf(bytes) {
  if (bytes.readUInt32BE(0) === 0x89504e47) {
    return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  }
  for (let at = 2; at < bytes.length; at += 2 + bytes.readUInt16BE(at + 2)) {
    const marker = bytes[at + 1];
    if (marker >= 0xc0 && marker <= 0xc2) {
      return [bytes.readUInt16BE(at + 7), bytes.readUInt16BE(at + 5)];
    }
  }
  return undefined;
}

describe('api', { skip: skipWithoutShared() }, () => {
  let server;
  const bus = picture('bus.jpg');

  before(async () => {
    server = await startServer();
  });
  after(async () => {
    assert.equal(await server?.stop(), 0, 'exit code after SIGTERM');
  });

  const ask = (path, init) => fetch(server.url + path, init);
  const post = (path, body, headers = {}) => ask(path, { method: 'POST', body, headers });
  const postJpeg = (query = '', headers = {}) =>
    post(IMAGE + query, bus, { 'Content-Type': 'image/jpeg', ...headers });
  const postJson = (path, value, headers = {}) =>
    post(path, typeof value === 'string' ? value : JSON.stringify(value), {
      'Content-Type': 'application/json',
      ...headers,
    });

  function form(...parts) {
    const data = new FormData();
    for (const [name, value, filename] of parts) {
      if (typeof value === 'string') {
        data.append(name, value);
      } else {
        data.append(name, new Blob([value]), filename ?? 'picture');
      }
    }
    return data;
  }

  async function assertProblem(response, status, detail, what = '') {
    const text = await response.text();
    assert.equal(response.status, status, `${what} ${text}`);
    assert.match(response.headers.get('content-type'), /^application\/problem\+json/);
    const problem = JSON.parse(text);
    assert.equal(problem.type, 'about:blank');
    assert.equal(problem.status, status);
    assert.equal(typeof problem.title, 'string');
    assert.match(problem.detail, detail, what);
    assert.ok(problem.advice?.length > 0, `${what} has no advice`);
    assert.equal(problem.request_id, response.headers.get('x-request-id'));
    return problem;
  }

  describe('one picture', () => {
    it('comes as a raw body of any declared type', async () => {
      for (const type of ['image/jpeg', 'image/png', 'image/x-other', 'application/octet-stream']) {
        const response = await post(IMAGE, bus, { 'Content-Type': type });
        assert.equal(response.status, 200);
        assert.match(response.headers.get('content-type'), /^application\/json/);
        const result = await response.json();
        assertBus(result.detections);
        assert.deepEqual(result.image, { width: 810, height: 1080 });
        assert.equal(result.model, 'yolov8n');
        assert.equal(result.request_id, response.headers.get('x-request-id'));
        const stages = ['queue', 'decode', 'preprocess', 'inference', 'postprocess', 'total'];
        assert.deepEqual(Object.keys(result.timings_ms), stages);
        const { total, ...parts } = result.timings_ms;
        const sum = Object.values(parts).reduce((a, b) => a + b, 0);
        assert.ok(total > 0 && sum <= total + 0.1, `${sum} of ${total} ms`);
      }
    });

    it('comes as a form file of any name', async () => {
      for (const name of ['image', 'file', 'whatever']) {
        const response = await post(IMAGE, form([name, bus, 'bus.jpg']));
        assert.equal(response.status, 200);
        assertBus((await response.json()).detections);
      }
    });

    it('comes as base64, as a data: URL too', async () => {
      const base64 = bus.toString('base64');
      const variants = [
        base64,
        base64.replaceAll('=', ''),
        bus.toString('base64url'),
        base64.replace(/.{76}/g, '$&\r\n'),
        `data:image/jpeg;base64,${base64}`,
      ];
      for (const image of variants) {
        const response = await postJson(IMAGE, { image });
        assert.equal(response.status, 200);
        assertBus((await response.json()).detections);
      }
    });

    it('is read whatever its format and oddity', async () => {
      const sizes = {
        'base640.jpg': [640, 360],
        'gray.jpg': undefined,
        'gray.png': undefined,
        'palette.png': undefined,
        'alpha.png': undefined,
        'rgb16.png': undefined,
        'interlaced.png': undefined,
        'progressive.jpg': [640, 360],
        'yuv422.jpg': [640, 360],
        'yuv444.jpg': [640, 360],
        'lossy.webp': undefined,
        'lossless-alpha.webp': undefined,
        'exif-1.jpg': [405, 540],
        'exif-3.jpg': [405, 540],
        'exif-6.jpg': [405, 540],
        'exif-8.jpg': [405, 540],
        'odd-dims-641x427.jpg': [641, 427],
        'wide-2000x8.jpg': [2000, 8],
        '1x1.jpg': [1, 1],
        '1x1.png': [1, 1],
      };
      for (const [name, size] of Object.entries(sizes)) {
        const response = await post(IMAGE, picture(`odd/${name}`), { 'Content-Type': 'image/png' });
        const text = await response.text();
        assert.equal(response.status, 200, `${name}: ${text}`);
        if (size) {
          const { image } = JSON.parse(text);
          assert.deepEqual([image.width, image.height], size, name);
        }
      }
    });

    it('finds the same in an EXIF-turned picture, whichever way it is stored', async () => {
      for (const number of [1, 3, 6, 8]) {
        const response = await post(
          `${IMAGE}?confidence=0.5`,
          picture(`odd/exif-${number}.jpg`),
          { 'Content-Type': 'image/jpeg' },
        );
        const names = (await response.json()).detections.map((d) => d.class_name).sort();
        assert.deepEqual(names, ['bus', 'person', 'person', 'person'], `exif-${number}`);
      }
    });

    it('is served in chunks, without a declared length', async () => {
      const body = new ReadableStream({
        start(controller) {
          for (let at = 0; at < bus.length; at += 50_000) {
            controller.enqueue(bus.subarray(at, at + 50_000));
          }
          controller.close();
        },
      });
      const response = await ask(IMAGE, {
        method: 'POST',
        body,
        duplex: 'half',
        headers: { 'Content-Type': 'image/jpeg' },
      });
      assert.equal(response.status, 200);
      assertBus((await response.json()).detections);
    });
  });

  describe('options', () => {
    const counts = async (response) => {
      assert.equal(response.status, 200, await response.clone().text());
      const names = {};
      for (const { class_name: name } of (await response.json()).detections) {
        names[name] = (names[name] ?? 0) + 1;
      }
      return names;
    };

    it('filter', async () => {
      assert.deepEqual(await counts(await postJpeg('?confidence=0.5')), { person: 3, bus: 1 });
      assert.deepEqual(await counts(await postJpeg('?classes=bus')), { bus: 1 });
      assert.deepEqual(await counts(await postJpeg('?classes=BUS,%20person')), { person: 4, bus: 1 });
      assert.deepEqual(await counts(await postJpeg('?classes=5')), { bus: 1 });
      assert.deepEqual(await counts(await postJpeg('?classes=')), { person: 4, bus: 1 });
      assert.deepEqual(await counts(await postJpeg('?max_detections=2')), { person: 2 });
      assert.deepEqual(await counts(await postJpeg('?confidence=1')), {});
      assert.deepEqual(await counts(await postJpeg('?model=yolov8n')), { person: 4, bus: 1 });
      const loose = await counts(await postJpeg('?iou=1'));
      assert.ok(loose.person > 4, 'no suppression, more boxes');
    });

    it('are the same in forms and JSON, where they win over the query', async () => {
      const inForm = form(['image', bus], ['classes', 'bus'], ['confidence', '0.5']);
      assert.deepEqual(await counts(await post(IMAGE, inForm)), { bus: 1 });
      const over = form(['image', bus], ['classes', 'bus']);
      assert.deepEqual(await counts(await post(`${IMAGE}?classes=person`, over)), { bus: 1 });
      const image = bus.toString('base64');
      const inJson = { image, classes: ['bus', 0], confidence: 0.5, max_detections: 3 };
      assert.deepEqual(await counts(await postJson(IMAGE, inJson)), { person: 3 });
      assert.deepEqual(
        await counts(await postJson(`${IMAGE}?classes=person`, { image, classes: 'bus' })),
        { bus: 1 },
      );
    });

    it('that are wrong are explained', async () => {
      const cases = [
        ['?confidence=high', 400, /confidence: 'high' is not a number/],
        ['?confidence=1.5', 422, /confidence: 1.5 is not from 0 to 1/],
        ['?iou=', 400, /iou: '' is not a number/],
        ['?iou=0.5&iou=0.6', 400, /iou is given twice/],
        ['?max_detections=0', 422, /max_detections: 0 is not from 1 to 1000/],
        ['?classes=persn', 422, /no class 'persn'; did you mean 'person'\?/],
        ['?classes=99', 422, /no class 99; the ids of yolov8n go from 0 to 79/],
        ['?format=xml', 422, /no format 'xml'/],
        ['?confidense=0.5', 422, /no option 'confidense'; did you mean 'confidence'\?/],
        ['?model=yolov9', 404, /no model 'yolov9'.*there: .*yolov8n/],
        ['?x=%00', 422, /no option 'x'/],
        ['?%ff=1', 422, /no option/],
      ];
      for (const [query, status, detail] of cases) {
        await assertProblem(await postJpeg(query), status, detail, query);
      }
    });
  });

  describe('answers', () => {
    it('come as COCO, YOLO labels and CSV', async () => {
      const coco = await (await postJpeg('?format=coco')).json();
      assert.equal(coco.length, 5);
      assert.deepEqual(Object.keys(coco[3]), ['image_id', 'category_id', 'bbox', 'score']);
      const [x, y, width, height] = coco[3].bbox;
      assert.ok(iou({ x1: x, y1: y, x2: x + width, y2: y + height }, { x1: 33, y1: 230, x2: 793, y2: 751 }) > 0.95);

      const yolo = await postJpeg('?format=yolo');
      assert.match(yolo.headers.get('content-type'), /^text\/plain/);
      const lines = (await yolo.text()).trim().split('\n');
      assert.equal(lines.length, 5);
      for (const line of lines) {
        assert.match(line, /^\d+( (0|1)?\.?\d+){5}$/);
      }

      const csv = await post(IMAGE, form(['image', bus, 'a,"b".jpg'], ['format', 'csv']));
      assert.match(csv.headers.get('content-type'), /^text\/csv/);
      const rows = (await csv.text()).trim().split('\r\n');
      assert.equal(rows.length, 6);
      assert.match(rows[0], /^source,image_width,image_height,class_id,class_name,/);
      assert.match(rows[4], /,810,1080,5,bus,0\.8/);
    });

    it('are the annotated picture when Accept asks for one', async () => {
      const cases = [
        ['image/jpeg', 'image/jpeg'],
        ['image/png', 'image/png'],
        ['image/*', 'image/jpeg'],
        ['image/png;q=0.9, image/jpeg;q=0.8', 'image/png'],
        ['application/json;q=0.5, image/png', 'image/png'],
      ];
      for (const [accept, type] of cases) {
        const response = await postJpeg('', { Accept: accept });
        assert.equal(response.status, 200);
        assert.equal(response.headers.get('content-type'), type, accept);
        assert.equal(response.headers.get('x-nexus-detections'), '5');
        const bytes = Buffer.from(await response.arrayBuffer());
        assert.deepEqual(sizeOf(bytes), [810, 1080], accept);
        if (type === 'image/jpeg') {
          assert.notDeepEqual(bytes, bus);
        }
      }
      const upright = await post(IMAGE, picture('odd/exif-6.jpg'), {
        'Content-Type': 'image/jpeg',
        Accept: 'image/png',
      });
      assert.deepEqual(sizeOf(Buffer.from(await upright.arrayBuffer())), [405, 540]);
    });

    it('are JSON for everybody else', async () => {
      for (const accept of ['*/*', 'application/json', 'application/*', 'text/html, */*;q=0.1']) {
        const response = await postJpeg('', { Accept: accept });
        assert.match(response.headers.get('content-type'), /^application\/json/, accept);
        await response.arrayBuffer();
      }
    });

    it('are refused when none is acceptable', async () => {
      await assertProblem(await postJpeg('', { Accept: 'application/xml' }), 406, /application\/xml/);
      await assertProblem(await postJpeg('', { Accept: 'image/webp' }), 406, /image\/webp/);
      await assertProblem(await postJpeg('', { Accept: 'text/csv' }), 406, /text\/csv/);
      const csv = await postJpeg('?format=csv', { Accept: 'text/csv' });
      assert.equal(csv.status, 200);
    });
  });

  describe('problems', () => {
    it('of the picture', async () => {
      const cases = [
        ['empty.jpg', 400, /no body|empty/],
        ['header-only.jpg', 422, /./],
        ['truncated.jpg', 422, /ends early|truncated|damaged/i],
        ['truncated.png', 422, /./],
        ['text.jpg', 415, /this is text/],
        ['plain.bmp', 415, /BMP/],
        ['plain.tiff', 415, /TIFF/],
        ['bomb-20000x20000.png', 413, /20000x20000/],
      ];
      for (const [name, status, detail] of cases) {
        const response = await post(IMAGE, picture(`odd/${name}`), { 'Content-Type': 'image/jpeg' });
        await assertProblem(response, status, detail, name);
      }
    });

    it('of every odd file: an answer or a problem, never a fault', async () => {
      for (const name of readdirSync(sharedPath('images/odd'))) {
        const response = await post(IMAGE, form(['image', picture(`odd/${name}`), name]));
        await response.arrayBuffer();
        assert.ok([200, 400, 413, 415, 422].includes(response.status), `${name}: ${response.status}`);
      }
    });

    it('of the form', async () => {
      await assertProblem(await post(IMAGE, form(['a', bus], ['b', bus])), 400, /more than 1 file/);
      await assertProblem(await post(IMAGE, form(['confidence', '0.5'])), 400, /has no file/);
      await assertProblem(await post(IMAGE, form(['image', Buffer.alloc(0)])), 400, /is empty/);
      await assertProblem(await post(IMAGE, form(['image', 'text'])), 400, /has no file/);
      await assertProblem(
        await post(IMAGE, form(['image', bus], ['x', '1'])),
        422,
        /no option 'x'/,
      );
      await assertProblem(
        await post(IMAGE, '--x\r\ntruncated', { 'Content-Type': 'multipart/form-data; boundary=xx' }),
        400,
        /multipart body/,
      );
      await assertProblem(
        await post(IMAGE, 'x', { 'Content-Type': 'multipart/form-data' }),
        400,
        /no usable boundary/,
      );
    });

    it('of the JSON', async () => {
      const cases = [
        ['{', 400, /JSON cannot be read: line 1/],
        ['[]', 400, /not an object/],
        ['{}', 400, /no member 'image'/],
        ['{"image": 5}', 400, /image must be a string/],
        ['{"image": "!!"}', 400, /not base64 at character 1 of 2/],
        ['{"image": ""}', 400, /is empty/],
        ['{"image": "Zm9v"}', 415, /this is/],
        ['{"image": "Zm9v", "image": "Zm9v"}', 400, /duplicate/],
        ['{"image": "Zm9v", "conf": 1}', 422, /no option 'conf'/],
        ['{"image": "Zm9v", "confidence": "1"}', 400, /confidence must be a number/],
        [`${'['.repeat(5000)}`, 400, /JSON cannot be read/],
        [`[${'0,'.repeat(20_000)}0]`, 413, /more than 10000 values/],
      ];
      for (const [body, status, detail] of cases) {
        await assertProblem(await postJson(IMAGE, body), status, detail, body.slice(0, 40));
      }
      const badUtf8 = Buffer.from('{"image": "\xff"}', 'latin1');
      await assertProblem(await postJson(IMAGE, badUtf8.toString('latin1')), 400, /./);
      await assertProblem(
        await post(IMAGE, badUtf8, { 'Content-Type': 'application/json' }),
        400,
        /decode byte 0xff/,
      );
    });

    it('of the request', async () => {
      await assertProblem(await post(IMAGE, bus, { 'Content-Type': 'text/html' }), 415, /text\/html/);
      const untyped = await ask(IMAGE, { method: 'POST', body: new Uint8Array(bus) });
      await assertProblem(untyped, 415, /no Content-Type/);
      await assertProblem(await ask(IMAGE, { method: 'POST' }), 400, /no body/);
      const get = await ask(IMAGE);
      assert.equal(get.headers.get('allow'), 'POST');
      await assertProblem(get, 405, /does not answer GET/);
      const put = await ask('/health', { method: 'PUT', body: 'x' });
      assert.equal(put.headers.get('allow'), 'GET, HEAD');
      await assertProblem(put, 405, /does not answer PUT/);
      await assertProblem(await ask('/api/v2/nothing'), 404, /nothing at \/api\/v2\/nothing/);
    });
  });

  describe('a batch', () => {
    it('serves the good and names the bad, in order', async () => {
      const names = ['bus.jpg', 'odd/truncated.jpg', 'zidane.jpg', 'odd/text.jpg', 'odd/empty.jpg'];
      const response = await post(
        `${BATCH}?confidence=0.5`,
        form(...names.map((name) => ['images', picture(name), name])),
      );
      assert.equal(response.status, 200);
      const result = await response.json();
      assert.equal(result.request_id, response.headers.get('x-request-id'));
      assert.deepEqual(result.items.map((i) => i.index), [0, 1, 2, 3, 4]);
      assert.deepEqual(result.items.map((i) => i.source), names);
      assert.deepEqual(
        result.items.map((i) => i.status),
        ['ok', 'error', 'ok', 'error', 'error'],
      );
      assert.deepEqual([result.succeeded, result.failed], [2, 3]);
      assert.equal(result.items[0].detections.length, 4, 'above 0.5');
      assert.deepEqual(result.items[2].image, { width: 1280, height: 720 });
      assert.equal(result.items[1].error.status, 422);
      assert.equal(result.items[3].error.status, 415);
      for (const index of [1, 3, 4]) {
        const { error } = result.items[index];
        assert.ok(error.title && error.detail && error.advice, JSON.stringify(error));
      }
      assert.ok(result.timings_ms.total > 0);
    });

    it('comes as JSON too', async () => {
      const image = bus.toString('base64');
      const response = await postJson(BATCH, {
        images: [{ id: 'door', image }, { image: 'broken!' }, { image: '' }, { image }],
        classes: ['bus'],
      });
      assert.equal(response.status, 200);
      const { items, succeeded, failed } = await response.json();
      assert.deepEqual(items.map((i) => i.source), ['door', null, null, null]);
      assert.deepEqual([succeeded, failed], [2, 2]);
      assert.equal(items[0].detections.length, 1);
      assert.match(items[1].error.detail, /not base64/);
      assert.equal(items[1].error.status, 400);
    });

    it('takes 100 pictures and refuses 101', async () => {
      const small = picture('odd/1x1.png');
      const hundred = form(...Array.from({ length: 100 }, (_, i) => ['f', small, `${i}.png`]));
      const response = await post(BATCH, hundred);
      const result = await response.json();
      assert.equal(result.succeeded, 100);
      assert.deepEqual(result.items.map((i) => i.source), Array.from({ length: 100 }, (_, i) => `${i}.png`));

      const more = form(...Array.from({ length: 101 }, () => ['f', small]));
      await assertProblem(await post(BATCH, more), 413, /more than 100 files/);
      const images = Array.from({ length: 101 }, () => ({ image: '' }));
      await assertProblem(await postJson(BATCH, { images }), 413, /101 pictures/);
    });

    it('that is malformed is refused as a whole', async () => {
      const cases = [
        [{}, 400, /no array 'images'/],
        [{ images: 'x' }, 400, /no array 'images'/],
        [{ images: [] }, 400, /0 pictures/],
        [{ images: ['x'] }, 400, /item 0 of images/],
        [{ images: [{ image: 'x' }, { id: 'a' }] }, 400, /item 1 of images/],
        [{ images: [{ image: 'x', id: 7 }] }, 400, /item 0 of images/],
        [{ images: [{ image: 'x', extra: 1 }] }, 400, /item 0 of images/],
        [{ images: [{ image: 'x' }], format: 'csv' }, 422, /no option 'format'/],
        [{ images: [{ image: 'x' }], iou: 7 }, 422, /iou: 7/],
      ];
      for (const [value, status, detail] of cases) {
        await assertProblem(await postJson(BATCH, value), status, detail, JSON.stringify(value));
      }
      await assertProblem(await post(BATCH, form(['iou', '0.5'])), 400, /0 pictures/);
      await assertProblem(await post(BATCH, bus, { 'Content-Type': 'image/jpeg' }), 415, /image\/jpeg/);
      await assertProblem(
        await post(BATCH, form(['f', bus]), { Accept: 'image/png' }),
        406,
        /image\/png/,
      );
    });
  });

  describe('operations', () => {
    it('/health is alive', async () => {
      const response = await ask('/health');
      const health = await response.json();
      assert.equal(health.status, 'ok');
      assert.match(health.version, /^\d+\.\d+\.\d+$/);
      assert.ok(health.uptime_s > 0);
      assert.equal(response.headers.get('cache-control'), 'no-store');
      const head = await ask('/health', { method: 'HEAD' });
      assert.equal(head.status, 200);
      assert.equal(await head.text(), '');
    });

    it('/health/ready says what it runs on', async () => {
      const response = await ask('/health/ready');
      assert.equal(response.status, 200);
      const ready = await response.json();
      assert.equal(ready.status, 'ready');
      assert.deepEqual(ready.model, {
        name: 'yolov8n',
        input_width: 640,
        input_height: 640,
        dynamic: false,
        classes: 80,
      });
      assert.equal(ready.execution_provider, 'cpu');
      assert.equal(ready.runtime.name, 'onnxruntime');
      assert.equal(ready.queue.size, 256);
      assert.equal(ready.cache.kind, 'memory');
      assert.ok(ready.workers >= 1);
    });

    it('/metrics has the given names and counts', async () => {
      const route = `route="${IMAGE}"`;
      const series = `http_requests_total{method="POST",${route},status="200"}`;
      const before = (await metric(server.url, series)) ?? 0;
      await (await postJpeg()).arrayBuffer();
      await eventually(async () => (await metric(server.url, series)) === before + 1, series);
      const other = 'http_requests_total{method="GET",route="other",status="404"}';
      const unknown = (await metric(server.url, other)) ?? 0;
      await (await ask(`/${'x'.repeat(500)}`)).arrayBuffer();
      await eventually(async () => (await metric(server.url, other)) === unknown + 1, other);

      const response = await ask('/metrics');
      assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
      const text = await response.text();
      for (const name of [
        'http_requests_total',
        'http_request_duration_seconds',
        'model_inference_duration_seconds',
        'model_inference_batch_size',
        'inference_queue_depth',
        'process_cpu_usage_percent',
        'process_memory_bytes',
        'inference_stage_duration_seconds',
        'inference_requests_failed_total',
        'execution_provider_info',
      ]) {
        assert.match(text, new RegExp(`^# TYPE ${name} (counter|gauge|histogram)$`, 'm'));
        assert.match(text, new RegExp(`^${name}(_bucket|)(\\{.*\\}|) [\\d.e+-]+$`, 'm'), name);
      }
      // Every line is a comment or a sample, and every series comes once.
      const samples = text.trim().split('\n').filter((line) => !line.startsWith('#'));
      for (const line of samples) {
        assert.match(line, /^[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? ([\d.e+-]+|NaN)$/);
      }
      const names = samples.map((line) => line.slice(0, line.lastIndexOf(' ')));
      assert.equal(new Set(names).size, names.length);
    });

    it('an X-Request-Id goes through, when it is sane', async () => {
      const given = await ask('/health', { headers: { 'X-Request-Id': 'trace-42' } });
      assert.equal(given.headers.get('x-request-id'), 'trace-42');
      const odd = await ask('/health', { headers: { 'X-Request-Id': 'a b<script>' } });
      assert.match(odd.headers.get('x-request-id'), /^[0-9a-f]{16}$/);
    });
  });

  describe('embedded files', () => {
    it('come compressed, with an ETag that is honoured', async (t) => {
      const page = await ask('/', { headers: { 'Accept-Encoding': 'identity' } });
      if (page.status === 404) {
        await assertProblem(page, 404, /without the page/);
        t.skip('the binary was built without the page');
        return;
      }
      assert.equal(page.status, 200);
      assert.match(page.headers.get('content-type'), /^text\/html/);
      assert.match(page.headers.get('content-security-policy'), /script-src 'self'/);
      assert.equal(page.headers.get('x-content-type-options'), 'nosniff');
      assert.equal(page.headers.get('content-encoding'), null);
      const plain = await page.text();
      const etag = page.headers.get('etag');

      const gzip = await ask('/', { headers: { 'Accept-Encoding': 'gzip' } });
      assert.equal(gzip.headers.get('content-encoding'), 'gzip');
      assert.equal(gzip.headers.get('vary'), 'Accept-Encoding');
      assert.notEqual(gzip.headers.get('etag'), etag);
      assert.equal(await gzip.text(), plain);

      const again = await ask('/', {
        headers: { 'Accept-Encoding': 'identity', 'If-None-Match': `"x", W/${etag}` },
      });
      assert.equal(again.status, 304);
      assert.equal(again.headers.get('etag'), etag);
      assert.equal(await again.text(), '');

      for (const path of ['/docs', '/openapi.json']) {
        const response = await ask(path);
        assert.equal(response.status, 200, path);
        await response.arrayBuffer();
      }
      await assertProblem(await ask('/assets/none.js'), 404, /nothing at \/assets\/none.js/);
      await assertProblem(await ask('/assets/../api'), 404, /nothing at/);
    });
  });
});

describe('overload', { skip: skipWithoutShared() }, () => {
  const small = () => readFileSync(sharedPath('images/odd/base640.jpg'));
  const post = (server) =>
    fetch(server.url + IMAGE, {
      method: 'POST',
      body: small(),
      headers: { 'Content-Type': 'image/jpeg' },
    });

  it('a full queue answers 503, the others are served', async () => {
    const server = await startServer({
      env: { INFERENCE_QUEUE_SIZE: '2', INFERENCE_WORKERS: '1' },
    });
    try {
      const answers = await Promise.all(Array.from({ length: 20 }, () => post(server)));
      const byStatus = { 200: 0, 503: 0 };
      for (const answer of answers) {
        byStatus[answer.status] += 1;
        const body = await answer.json();
        if (answer.status === 503) {
          assert.match(body.detail, /the queue is full/);
          assert.match(answer.headers.get('retry-after'), /^[1-9]\d*$/);
        } else {
          const names = body.detections.map((d) => d.class_name);
          assert.deepEqual(names.filter((name) => name === 'person'), ['person', 'person']);
        }
      }
      assert.ok(byStatus[200] >= 3 && byStatus[503] >= 1, JSON.stringify(byStatus));
      assert.equal(byStatus[200] + byStatus[503], 20);
    } finally {
      await server.stop();
    }
  });

  it('one client alone gets 429 beyond its share', async () => {
    const server = await startServer({ env: { LIMIT_CONCURRENCY_PER_CLIENT: '2' } });
    try {
      const answers = await Promise.all(Array.from({ length: 12 }, () => post(server)));
      const refused = answers.filter(({ status }) => status === 429);
      assert.ok(refused.length >= 1);
      assert.equal(answers.filter(({ status }) => status === 200).length, 12 - refused.length);
      for (const answer of refused) {
        assert.match((await answer.json()).detail, /this client has 2 requests in flight/);
        assert.match(answer.headers.get('retry-after'), /^\d+$/);
      }
    } finally {
      await server.stop();
    }
  });

  it('limits on bodies, pixels and requests are the operator’s', async () => {
    const server = await startServer({
      env: { MAX_BODY_BYTES: '30k', MAX_IMAGE_PIXELS: '1000', LIMIT_CONCURRENCY: '1000' },
    });
    try {
      const large = await post(server);
      assert.equal(large.status, 413);
      assert.match((await large.json()).detail, /larger than the 30720 bytes/);
      const wide = await fetch(server.url + IMAGE, {
        method: 'POST',
        body: readFileSync(sharedPath('images/odd/wide-2000x8.jpg')),
        headers: { 'Content-Type': 'image/jpeg' },
      });
      assert.equal(wide.status, 413);
      assert.match((await wide.json()).detail, /2000x8/);
    } finally {
      await server.stop();
    }
  });

  it('SIGTERM: not ready, nothing new, what is in flight is answered', async () => {
    const server = await startServer({ env: { INFERENCE_WORKERS: '1' } });
    const inFlight = Array.from({ length: 8 }, () => post(server));
    const depth = () => metric(server.url, 'inference_queue_depth');
    await eventually(async () => (await depth()) >= 4, 'a queue');
    const stopped = server.stop();
    await eventually(async () => {
      const ready = await fetch(`${server.url}/health/ready`);
      const { status } = await ready.json();
      return ready.status === 503 && status === 'draining';
    }, 'draining');
    const late = await post(server);
    assert.equal(late.status, 503);
    assert.match((await late.json()).detail, /shutting down/);
    // What had been queued is answered; a body that was still on its way then is refused, and told why.
    let answered = 0;
    for (const answer of await Promise.all(inFlight)) {
      if (answer.status === 503) {
        assert.match((await answer.json()).detail, /shutting down/);
        continue;
      }
      assert.equal(answer.status, 200);
      await answer.arrayBuffer();
      answered++;
    }
    assert.ok(answered >= 4, `${answered} were answered`);
    assert.equal(await stopped, 0);
    await assert.rejects(fetch(`${server.url}/health`));
  });

  it('a taken port is an error with a way out', async () => {
    const server = await startServer();
    try {
      await assert.rejects(
        startServer({ args: ['--port', String(server.port)] }),
        /port \d+ on 127\.0\.0\.1 is in use by another program; choose another with --port or NEXUS_PORT/,
      );
    } finally {
      await server.stop();
    }
  });
});
