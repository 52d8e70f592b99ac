// Choices that a seed repeats.

/** mulberry32: next() is from 0 to 1. */
export function randomFrom(seed) {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (count) => Math.floor(next() * count);
  const between = (least, most) => least + below(most - least + 1);
  return { next, below, between, chance: (p) => next() < p, pick: (list) => list[below(list.length)] };
}
