// Whole servers to put under the same load as Nexus: each with what stands beside it.
//
// start(model) gives { url, path, pids: { name: pid }, startMs, stop() }.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../tests/e2e/lib/ports.mjs';
import { startRedis } from '../../tests/e2e/lib/redis.mjs';
import { cores, NEXUS_PATH, root } from '../lib.mjs';
import { startPlace } from '../load/place.mjs';
import { peers } from './peers.mjs';
import { launch, launchServer } from './process.mjs';

const here = join(root, 'bench/peers');

async function startNexus(model) {
  const begun = performance.now();
  const place = await startPlace(model);
  return { ...place, path: NEXUS_PATH, counts: true, startMs: performance.now() - begun };
}

/** FastAPI on uvicorn, Celery with a process for each core, and Redis: the stack of the guide. */
async function startGuide(model) {
  const begun = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'nexus-guide-'));
  const redis = await startRedis({ args: ['--maxmemory', '2gb'] });
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const fastapi = peers.find((peer) => peer.install === 'fastapi');
  const { name: _, ...settings } = fastapi.variants[0];
  const server = fastapi.start(model, port, settings);
  const env = { ...server.env, FOLDER: folder, REDIS: `unix://${redis.socket}`, BROKER: `redis+socket://${redis.socket}` };
  const python = join(root, 'build/peers/python/bin');
  const worker = launch({
    command: join(python, 'celery'),
    args: ['-A', 'tasks', 'worker', '--concurrency', `${cores}`, '--loglevel', 'WARNING'],
    cwd: server.cwd,
    env,
  });
  async function stop() {
    await api?.stop();
    await worker.stop();
    await redis.remove();
    rmSync(folder, { recursive: true, force: true });
  }
  let api;
  try {
    const args = server.args.map((word) => (word === 'app:app' ? 'guide:app' : word));
    api = await launchServer({ ...server, args, env }, `${url}/health`, 'the stack of the guide');
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    path: NEXUS_PATH,
    pids: { uvicorn: api.pid, celery: worker.pid, redis: redis.pid() },
    startMs: performance.now() - begun,
    stop,
  };
}

async function startNode(model) {
  const node = peers.find((peer) => peer.install === 'node');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const { name: _, ...settings } = node.variants[0];
  const server = await launchServer(node.start(model, port, settings), `${url}/health`, node.name);
  return { ...server, url, path: node.path, pids: { node: server.pid } };
}

const sources = (...files) => files.map((file) => join(here, file));

/** keeps: predictions, so that repeats cost less; videos: it takes jobs; sources: its own code. */
export const servers = [
  { name: 'nexus', start: startNexus, keeps: true, videos: true, sources: [] },
  {
    name: 'FastAPI + uvicorn + Celery + Redis + ONNX Runtime',
    install: 'guide',
    start: startGuide,
    keeps: true,
    videos: true,
    sources: sources('fastapi/guide.py', 'fastapi/tasks.py', 'fastapi/app.py', 'fastapi/engines.py', 'fastapi/vision.py'),
  },
  { name: 'Node + fastify + sharp + ONNX Runtime', install: 'node', start: startNode, sources: sources('node/server.mjs') },
];
