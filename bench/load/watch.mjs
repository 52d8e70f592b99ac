// What a server takes of the machine while it is under load, looked at once a second.
import { treeCpuMs, treeMb } from '../lib.mjs';
import { scrape } from './metrics.mjs';

const EVERY_MS = 1000;

/** Begins to look; stop() gives { cpu, memory, queue } of the time in between. */
export function watch({ url, pids, headers, counts }) {
  const begin = performance.now();
  const spent = () => Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, treeCpuMs(pid)]));
  const before = spent();
  const memory = Object.fromEntries(Object.keys(pids).map((name) => [name, 0]));
  const queue = [];
  let last = Promise.resolve();

  async function look() {
    for (const [name, pid] of Object.entries(pids)) memory[name] = Math.max(memory[name], treeMb(pid));
    if (counts) queue.push((await scrape(url, headers)).get('inference_queue_depth') ?? 0);
  }
  // one look at a time, and the first at once
  const again = () => (last = last.then(look).catch(() => {})); // a server that ends is somebody else's news
  again();
  const timer = setInterval(again, EVERY_MS);

  return {
    async stop() {
      clearInterval(timer);
      const seconds = (performance.now() - begin) / 1000;
      const after = spent();
      await last;
      const cpu = Object.fromEntries(Object.keys(pids).map((name) => [name, (after[name] - before[name]) / 10 / seconds]));
      return { cpu, memory, queue };
    },
  };
}
