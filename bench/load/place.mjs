// A server to put under load, with what stands beside it and the settings of deploy/compose.
import { makeDataDir } from '../../tests/e2e/lib/data_dir.mjs';
import { skipWithoutPostgres, startPostgres } from '../../tests/e2e/lib/postgres.mjs';
import { skipWithoutRedis, startRedis } from '../../tests/e2e/lib/redis.mjs';
import { startServer } from '../../tests/e2e/lib/server.mjs';

// What the environment says comes first. The server does the jobs itself: beside a worker there
// would be two engines for the same cores.
const DEPLOYED = {
  WORKERS: '1',
  KEEPALIVE: '75',
  LIMIT_CONCURRENCY: '1000',
  BACKLOG: '2048',
  DB_POOL_SIZE: '50',
  DB_MAX_OVERFLOW: '25',
  CACHE_TTL_PREDICTIONS: '300',
  INFERENCE_QUEUE_SIZE: '256',
  LOG_LEVEL: 'info',
};

/** { url, pids: { name: pid }, without: [what is not there], stop() } */
export async function startPlace(model) {
  const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
  let redis;
  let postgres;
  const beside = async () => {
    await redis?.remove();
    await postgres?.remove();
    data.remove();
  };
  const settings = Object.entries(DEPLOYED).map(([name, value]) => [name, process.env[name] ?? value]);
  try {
    if (!skipWithoutRedis()) redis = await startRedis({ args: ['--maxmemory', '2gb'] });
    if (!skipWithoutPostgres()) postgres = await startPostgres();
    const server = await startServer({
      args: ['--data-dir', data.path, ...(model ? ['--model', model] : [])],
      env: {
        ...Object.fromEntries(settings),
        DATABASE_URL: postgres?.url ?? '',
        REDIS_URL: redis?.url ?? '',
        OBJECTS_URL: '',
      },
    });
    return {
      url: server.url,
      pids: {
        nexus: server.pid,
        ...(postgres && { postgres: postgres.pid() }),
        ...(redis && { redis: redis.pid() }),
      },
      without: [...(postgres ? [] : ['PostgreSQL']), ...(redis ? [] : ['Redis'])],
      async stop() {
        const code = await server.stop();
        await beside();
        if (code !== 0) throw new Error(`the server ended with ${code}\n${server.logs().slice(-2000)}`);
      },
    };
  } catch (error) {
    await beside();
    throw error;
  }
}
