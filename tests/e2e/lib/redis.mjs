// A Redis of a test's own: deploy's configuration, in a scratch folder, on a socket or on a free
// port, that can be killed, stopped and started again.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { skipWithout } from './cli.mjs';
import { eventually } from './server.mjs';

const config = fileURLToPath(new URL('../../../deploy/redis/redis.conf', import.meta.url));

export const skipWithoutRedis = () => skipWithout('redis-server') || skipWithout('redis-cli');

/**
 * Starts a server and waits until it answers. args: further ones of redis-server's. password: what
 * clients have to say; it is in `url`, too.
 */
export async function startRedis({ args = [], password = '' } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-redis-'));
  const socket = join(folder, 'socket');
  const secret = password === '' ? [] : ['--requirepass', password];
  const login = password === '' ? [] : ['--no-auth-warning', '-a', password];
  let server;
  let ended;
  const redis = {
    url: password === '' ? `unix://${socket}` : `unix://:${encodeURIComponent(password)}@${socket}`,
    socket,
    pid: () => server.pid,
    ended: () => ended,
    cli: (...words) => execFileSync('redis-cli', ['-s', socket, ...login, ...words],
      { stdio: ['ignore', 'pipe', 'ignore'] }).toString().trimEnd(),
    async start() {
      server = spawn('redis-server',
        [config, '--port', '0', '--unixsocket', socket, '--dir', folder, '--io-threads', '1',
          '--maxmemory', '64mb', ...secret, ...args], { stdio: 'ignore' });
      ended = new Promise((resolve) => { server.once('close', resolve); });
      const answers = () => {
        try {
          return redis.cli('PING') === 'PONG';
        } catch {
          return false;
        }
      };
      await eventually(() => server.exitCode !== null || answers(), 'Redis starts', 60_000);
      if (server.exitCode !== null) {
        throw new Error(`redis-server ended with ${server.exitCode}`);
      }
    },
    /** As in a crash: what it knew is gone. */
    async kill() {
      server.kill('SIGKILL');
      await ended;
    },
    stop: () => server.kill('SIGSTOP'),
    goOn: () => server.kill('SIGCONT'),
    async remove() {
      await redis.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await redis.start();
  return redis;
}
