// The settings that deploy/ gives PostgreSQL and Redis: servers that have started with them say so.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { skipWithout } from './lib/cli.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { eventually } from './lib/server.mjs';

const redisConfig = fileURLToPath(new URL('../../deploy/redis/redis.conf', import.meta.url));

describe('PostgreSQL', { skip: skipWithoutPostgres() }, () => {
  it('has the settings of the tuning guide', async (t) => {
    const postgres = await startPostgres();
    t.after(() => postgres.remove());
    const wanted = {
      shared_buffers: '256MB',
      effective_cache_size: '1GB',
      maintenance_work_mem: '128MB',
      work_mem: '16MB',
      max_connections: '200',
      max_worker_processes: '8',
      max_parallel_workers: '8',
      max_parallel_workers_per_gather: '4',
      checkpoint_completion_target: '0.9',
      wal_buffers: '16MB',
      effective_io_concurrency: '200',
    };
    const shown = Object.keys(wanted).map((name) => [name, postgres.query(`SHOW ${name}`)]);
    assert.deepEqual(Object.fromEntries(shown), wanted);
  });

  it('tells which statements are slow', async (t) => {
    const postgres = await startPostgres();
    t.after(() => postgres.remove());
    postgres.query('CREATE EXTENSION pg_stat_statements');
    postgres.query('SELECT 40 + 2');
    const slow = 'SELECT query FROM pg_stat_statements ORDER BY mean_exec_time DESC';
    assert.match(postgres.query(slow), /^SELECT \$1 \+ \$2$/m);
  });
});

describe('Redis', { skip: skipWithout('redis-server') }, () => {
  it('has the settings of the tuning guide', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-redis-'));
    const socket = join(folder, 'socket');
    const server = spawn('redis-server',
      [redisConfig, '--port', '0', '--unixsocket', socket, '--dir', folder], { stdio: 'ignore' });
    const ended = new Promise((resolve) => { server.once('close', resolve); });
    t.after(async () => {
      server.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    });
    const cli = (...words) => execFileSync('redis-cli', ['-s', socket, ...words],
      { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
    const answers = () => {
      try {
        return cli('PING') === 'PONG\n';
      } catch {
        return false;
      }
    };
    await eventually(() => server.exitCode !== null || answers(), 'Redis starts', 60_000);
    const wanted = {
      maxmemory: String(2 * 1024 ** 3),
      'maxmemory-policy': 'allkeys-lru',
      save: '',
      appendonly: 'no',
      'io-threads': '4',
      'io-threads-do-reads': 'yes',
      'tcp-backlog': '511',
      'tcp-keepalive': '300',
    };
    const shown = Object.keys(wanted).map((name) => [name, cli('CONFIG', 'GET', name).split('\n')[1]]);
    assert.deepEqual(Object.fromEntries(shown), wanted);
  });
});
