// What the way to a server and back costs while it is under load: the time of GETs that cost the server
// next to nothing, on a connection of their own, ten times a second. The server's clock runs from a
// request's whole header to its sent answer and knows nothing of it: threads on both sides that wait for
// a core, bytes in the kernel's hands.
import http from 'node:http';
import { percentile } from '../lib.mjs';

const EVERY_MS = 100;
const FREE_MS = 2; // what is not worth telling from nothing

/** Begins to ask; stop() gives what such a GET took at most, but for one in a hundred, in ms. */
export function measureWay(url) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const times = [];
  const ask = () =>
    new Promise((done) => {
      const begin = performance.now();
      const answered = (response) => response.resume().on('end', () => done(times.push(performance.now() - begin)));
      http.get(`${url}/health`, { agent }, answered).on('error', done); // the load's own requests tell of it
    });
  let last = Promise.resolve();
  const timer = setInterval(() => (last = last.then(ask)), EVERY_MS);
  return {
    async stop() {
      clearInterval(timer);
      await last;
      agent.destroy();
      return Math.max(FREE_MS, ...(times.length > 0 ? [percentile(times, 0.99)] : []));
    },
  };
}
