// Memory and descriptors of each process, from its start to its end.
import { fdCount } from '../../tests/e2e/lib/server.mjs';
import { median, rssMb } from '../lib.mjs';

const EVERY_MS = 5000;
const LONG = 0.5; // of the whole time: a life that is long enough to be judged
const MORE = { memory: [1.25, 48], descriptors: [1.25, 24] }; // as a factor, and on top of that

/** Begins to look. stop() gives [{ name, pid, seconds, memory: { tenth, end, most }, descriptors: the same, judged }]. */
export function watchMemory(world) {
  const begin = Date.now();
  const lives = new Map(); // "name pid" to { name, pid, looks: [{ at, memory, descriptors }] }

  function look() {
    for (const { name, pid } of world.processes) {
      if (pid === undefined) continue;
      const life = lives.get(pid) ?? { name, pid, looks: [] };
      lives.set(pid, life);
      try {
        life.looks.push({ at: Date.now(), memory: rssMb(pid), descriptors: fdCount(pid) });
      } catch {
        // it has just ended
      }
    }
  }
  function summed({ looks }, what) {
    const values = looks.map((one) => one[what]);
    const tenth = Math.ceil(values.length / 10);
    return { tenth: median(values.slice(tenth - 1, 2 * tenth)), end: median(values.slice(-tenth)), most: Math.max(...values) };
  }
  look();
  const timer = setInterval(look, EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      const whole = Date.now() - begin;
      return [...lives.values()].filter(({ looks }) => looks.length > 1).map((life) => {
        const lived = life.looks.at(-1).at - life.looks[0].at;
        const { name, pid } = life;
        const [memory, descriptors] = ['memory', 'descriptors'].map((what) => summed(life, what));
        return { name, pid, seconds: lived / 1000, memory, descriptors, judged: lived > LONG * whole };
      });
    },
  };
}

/** Sentences on what has grown. */
export function grown(lives) {
  return lives.filter(({ judged }) => judged).flatMap((life) =>
    Object.entries(MORE).flatMap(([what, [factor, more]]) => {
      const { tenth, end } = life[what];
      return end > factor * tenth + more
        ? [`${what} of ${life.name} grew from ${tenth.toFixed(0)} to ${end.toFixed(0)} in ${life.seconds.toFixed(0)} s`]
        : [];
    }));
}
