// The faults, one at a time: each begins, lasts some seconds, and is over. By a seed, in turns that are shuffled anew.
import { children } from '../../tests/e2e/lib/server.mjs';
import { randomFrom } from '../../tests/e2e/lib/random.mjs';
import { sleep } from '../lib.mjs';

/** So long, and then the other way about. */
async function meanwhile(begin, seconds, end) {
  await begin();
  try {
    await sleep(1000 * seconds);
  } finally {
    await end();
  }
}

async function killed(one, seconds, world) {
  const code = await one.end('SIGKILL');
  if (code !== 'SIGKILL') world.broken(`${one.name} ended with ${code} before it was killed`);
  await sleep(1000 * seconds);
  await one.start();
}

const stopped = (one, seconds) => meanwhile(() => one.signal('SIGSTOP'), seconds, () => one.signal('SIGCONT'));

/** The database or Redis from one process or from all. */
function networks(world, random, to) {
  const all = Object.values(world.networks).map((ways) => ways[to]);
  return random.chance(0.5) ? all : [random.pick(all)];
}
const each = (list, what) => () => list.forEach(what);
const cut = (list, seconds) => meanwhile(each(list, (one) => one.cut()), seconds, each(list, (one) => one.mend()));
const stalled = (list, seconds) => meanwhile(each(list, (one) => one.stall()), seconds, each(list, (one) => one.mend()));

/**
 * Name to what happens. host-1 and worker-1 are never killed, so that their memory has the whole time to grow; all else
 * goes for them as well.
 */
export const FAULTS = {
  'kill -9 of a host': (world, random) => killed(world.hosts[1], random.between(0, 5), world),
  'kill -9 of a worker': (world, random) => killed(world.workers[1], random.between(0, 8), world),
  'kill -9 of a decoder': async (world, random) => {
    const decoders = world.processes.flatMap(({ pid }) => children(pid));
    if (decoders.length === 0) return;
    try {
      process.kill(random.pick(decoders), 'SIGKILL');
    } catch {
      // it has just ended
    }
  },
  'a host stands still': (world, random) => stopped(random.pick(world.hosts), random.between(2, 12)),
  'a worker stands still beyond its lease': (world, random) => stopped(random.pick(world.workers), random.between(6, 15)),
  'PostgreSQL restarts': async ({ postgres }, random) => {
    await postgres.kill('SIGINT');
    await sleep(1000 * random.between(0, 5));
    await postgres.start();
  },
  'PostgreSQL is killed': async ({ postgres }, random) => {
    await postgres.kill('SIGKILL');
    await sleep(1000 * random.between(0, 8));
    await postgres.start();
  },
  'Redis is killed': ({ redis }, random) => meanwhile(() => redis.kill(), random.between(1, 8), () => redis.start()),
  'Redis stands still': ({ redis }, random) => meanwhile(() => redis.stop(), random.between(2, 10), () => redis.goOn()),
  'Redis is flushed': async ({ redis }) => redis.cli('FLUSHALL'),
  'PostgreSQL is cut off': (world, random) => cut(networks(world, random, 'postgres'), random.between(2, 15)),
  'PostgreSQL is silent': (world, random) => stalled(networks(world, random, 'postgres'), random.between(2, 15)),
  'Redis is cut off': (world, random) => cut(networks(world, random, 'redis'), random.between(2, 10)),
  'Redis is silent': (world, random) => stalled(networks(world, random, 'redis'), random.between(2, 10)),
  'the camera is cut off': ({ camera }, random) => cut([camera.network], random.between(2, 15)),
  'the camera is silent': ({ camera }, random) => stalled([camera.network], random.between(5, 15)),
  'the camera is killed': ({ camera }, random) => meanwhile(camera.kill, random.between(1, 15), camera.start),
  'full disk': ({ disk }, random) => meanwhile(() => disk.fill(), random.between(5, 15), () => disk.free()),
  'the receiver refuses': ({ receiver }, random) =>
    meanwhile(() => receiver.refuse(true), random.between(3, 10), () => receiver.refuse(false)),
};

/** Those that need objects in S3. */
export const S3_FAULTS = {
  'objects are slow': ({ bucket }, random) => meanwhile(() => bucket.slow(random.between(50, 300)), random.between(5, 20), () => bucket.mend()),
  'objects are cut off': ({ bucket }, random) => cut([bucket], random.between(2, 15)),
  'objects are silent': ({ bucket }, random) => stalled([bucket], random.between(2, 15)),
};

function shuffled(list, random) {
  const cards = [...list];
  for (let i = cards.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [cards[i], cards[j]] = [cards[j], cards[i]];
  }
  return cards;
}

/**
 * Has faults happen until it is over, some quiet seconds after each is mended. names: those wanted; recovered():
 * waits until all is well again; quiet(): what is looked at then. Name to how often, and the seconds of recovery.
 */
export async function haveFaults({ world, names, seed, over, recovered, quiet }) {
  const all = { ...FAULTS, ...(world.bucket && S3_FAULTS) };
  const random = randomFrom(seed);
  const had = {};
  let cards = [];
  while (!over()) {
    if (cards.length === 0) cards = shuffled(names ?? Object.keys(all), random);
    const name = cards.pop();
    const own = randomFrom(random.below(2 ** 31)); // what it draws does not change what comes after it
    await sleep(1000 * random.between(4, 9));
    world.weather.begin(name);
    await all[name](world, own);
    const seconds = await recovered(name);
    world.weather.end();
    (had[name] ??= []).push(seconds);
    console.log(`  ${new Date().toISOString().slice(11, 19)} ${name}: well again after ${seconds.toFixed(1)} s`);
    await quiet();
  }
  return had;
}
