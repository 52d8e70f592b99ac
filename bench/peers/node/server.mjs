// POST /detect: the bytes of a picture in, boxes as JSON out; sharp and ONNX Runtime behind fastify.
//
// MODEL, SIZE (WIDTHxHEIGHT), THREADS inside one run, RUNS at once in a process, PROCESSES and PORT
// come from the environment.
import cluster from 'node:cluster';
import fastify from 'fastify';
import * as ort from 'onnxruntime-node';
import sharp from 'sharp';

const env = (name, fallback) => process.env[name] ?? fallback;
const [WIDTH, HEIGHT] = env('SIZE', '640x640').split('x').map(Number);
const CONFIDENCE = 0.25;
const IOU = 0.45;

/** The model's input and where the picture lies in it. */
async function prepare(bytes) {
  const picture = sharp(bytes).autoOrient();
  const { autoOrient: size } = await picture.metadata();
  const scale = Math.min(WIDTH / size.width, HEIGHT / size.height);
  const fit = { width: Math.round(size.width * scale), height: Math.round(size.height * scale) };
  const left = Math.floor((WIDTH - fit.width) / 2);
  const top = Math.floor((HEIGHT - fit.height) / 2);
  const { data } = await picture
    .resize(fit.width, fit.height, { fit: 'fill', kernel: env('KERNEL', 'linear') })
    .toColourspace('srgb')
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });

  const plane = WIDTH * HEIGHT;
  const input = new Float32Array(3 * plane).fill(114 / 255);
  for (let y = 0, from = 0; y < fit.height; y++) {
    let to = (top + y) * WIDTH + left;
    for (let x = 0; x < fit.width; x++, to++, from += 3) {
      input[to] = data[from] / 255;
      input[to + plane] = data[from + 1] / 255;
      input[to + 2 * plane] = data[from + 2] / 255;
    }
  }
  return { input, size, scale, left, top };
}

/** Cells over the threshold of [4 + classes, anchors], best first. */
function candidates(output, classes, anchors) {
  const best = new Float32Array(anchors).fill(CONFIDENCE);
  const which = new Int16Array(anchors).fill(-1);
  for (let c = 0; c < classes; c++) {
    const row = (4 + c) * anchors;
    for (let i = 0; i < anchors; i++) {
      if (output[row + i] > best[i]) {
        best[i] = output[row + i];
        which[i] = c;
      }
    }
  }
  const found = [];
  for (let i = 0; i < anchors; i++) {
    if (which[i] < 0) continue;
    const [x, y, w, h] = [0, 1, 2, 3].map((row) => output[row * anchors + i]);
    found.push({
      class_id: which[i],
      confidence: best[i],
      box: { x1: x - w / 2, y1: y - h / 2, x2: x + w / 2, y2: y + h / 2 },
    });
  }
  return found.sort((a, b) => b.confidence - a.confidence);
}

const area = (box) => (box.x2 - box.x1) * (box.y2 - box.y1);

function iou(a, b) {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (area(a) + area(b) - width * height);
}

/** Greedy NMS within each class. */
function suppress(found) {
  const kept = [];
  for (const one of found) {
    if (!kept.some((k) => k.class_id === one.class_id && iou(k.box, one.box) > IOU)) kept.push(one);
  }
  return kept;
}

async function detect(session, bytes) {
  const { input, size, scale, left, top } = await prepare(bytes);
  const images = new ort.Tensor('float32', input, [1, 3, HEIGHT, WIDTH]);
  const results = await session.run({ [session.inputNames[0]]: images });
  const output = results[session.outputNames[0]];
  const kept = suppress(candidates(output.data, output.dims[1] - 4, output.dims[2]));
  const clamp = (value, limit) => Math.min(Math.max(value, 0), limit);
  for (const { box } of kept) {
    box.x1 = clamp((box.x1 - left) / scale, size.width);
    box.y1 = clamp((box.y1 - top) / scale, size.height);
    box.x2 = clamp((box.x2 - left) / scale, size.width);
    box.y2 = clamp((box.y2 - top) / scale, size.height);
  }
  return { image: size, detections: kept };
}

/** At most `limit` calls at once; the others wait their turn. */
function limited(limit) {
  let free = limit;
  const waiting = [];
  return async (call) => {
    if (free > 0) free--;
    else await new Promise((turn) => waiting.push(turn));
    try {
      return await call();
    } finally {
      if (waiting.length > 0) waiting.shift()();
      else free++;
    }
  };
}

async function serve() {
  sharp.cache(false);
  sharp.concurrency(1);
  const session = await ort.InferenceSession.create(process.env.MODEL, {
    intraOpNumThreads: Number(env('THREADS', 1)),
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  const inTurn = limited(Number(env('RUNS', 1)) + Number(env('AHEAD', 0)));
  const app = fastify({ bodyLimit: 32 << 20 });
  const asBuffer = { parseAs: 'buffer' };
  app.addContentTypeParser('image/jpeg', asBuffer, (request, body, done) => done(null, body));
  app.get('/health', async () => ({ status: 'ok' }));
  app.post('/detect', (request) => inTurn(() => detect(session, request.body)));
  await app.listen({ port: Number(process.env.PORT) });
}

if (cluster.isPrimary && Number(env('PROCESSES', 1)) > 1) {
  for (let i = 0; i < Number(process.env.PROCESSES); i++) cluster.fork();
  process.on('SIGTERM', () => cluster.disconnect(() => process.exit(0)));
} else {
  await serve();
}
