// The network between two programs of this machine: passes TCP on, until it is cut, stalled or made slow.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { sleep } from '../lib.mjs';

/** target: what net.connect() takes. { port, cut(), stall(), slow(ms for each piece), mend(), close() } */
export async function startNetwork(target) {
  const sockets = new Map(); // to what ends each at once
  let delay = 0;
  let cut = false;
  let passable = Promise.resolve();
  let pass = () => {};

  /** One way, reading no faster than the other side takes it. */
  async function carry(from, to) {
    const closed = new Promise((done) => to.once('close', done));
    try {
      for await (const piece of from) {
        await passable;
        if (delay > 0) await sleep(delay);
        if (to.destroyed) break;
        if (!to.write(piece)) await Promise.race([once(to, 'drain'), closed]);
      }
      to.end();
    } catch {
      to.destroy(); // the other side is gone
    }
  }

  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (cut) {
      client.resetAndDestroy();
      return;
    }
    const far = connect({ ...target, allowHalfOpen: true });
    sockets.set(client, () => client.resetAndDestroy());
    sockets.set(far, () => far.destroy()); // which may be a socket in a folder, and has no reset
    for (const socket of [client, far]) socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    carry(client, far);
    carry(far, client);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const drop = () => sockets.forEach((end) => end());

  return {
    port: server.address().port,
    /** Connections end, and there are no new ones. */
    cut() {
      cut = true;
      drop();
    },
    /** Nothing arrives, and nobody is told. */
    stall() {
      passable = new Promise((done) => (pass = done));
    },
    slow: (ms) => (delay = ms),
    mend() {
      cut = false;
      delay = 0;
      pass();
    },
    close() {
      pass();
      drop();
      server.close();
    },
  };
}
