// Programs that are measured: started, waited for, and ended with all that they have started.
import { spawn } from 'node:child_process';
import http from 'node:http';
import { sleep } from '../lib.mjs';

const START_S = 60;
const STOP_MS = 10_000;

// What is still running when this ends early is ended with it.
const running = new Set();
process.on('exit', () => running.forEach((pid) => process.kill(-pid, 'SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** { pid, ended(), log(): the end of what it said, stop() } */
export function launch({ command, args, env, cwd }) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true, // a group of its own, which ends whole
  });
  let log = '';
  let ended = false;
  child.stderr.on('data', (chunk) => (log = (log + chunk).slice(-2000)));
  if (child.pid) running.add(child.pid);
  const exited = new Promise((done) => {
    const over = (error) => {
      log += error instanceof Error ? error.message : '';
      ended = true;
      running.delete(child.pid);
      done();
    };
    child.once('error', over);
    child.once('exit', over);
  });
  async function stop() {
    if (ended) return;
    process.kill(-child.pid, 'SIGTERM');
    const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), STOP_MS);
    await exited;
    clearTimeout(timer);
  }
  return { pid: child.pid, ended: () => ended, log: () => log, stop };
}

const answers = (url) =>
  new Promise((done) => {
    http
      .get(url, { agent: false }, (response) => done(response.resume().statusCode === 200))
      .on('error', () => done(false));
  });

/** Launches a server and waits until it answers at health; with startMs and what launch() gives. */
export async function launchServer(command, health, name) {
  const begun = performance.now();
  const server = launch(command);
  while (!(await answers(health))) {
    if (server.ended() || performance.now() - begun > START_S * 1000) {
      await server.stop();
      throw new Error(`${name} does not start\n${server.log()}`);
    }
    await sleep(10);
  }
  return { ...server, startMs: performance.now() - begun };
}
