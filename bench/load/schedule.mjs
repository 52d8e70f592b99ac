// What is asked for and when: decided beforehand, by a seed, and never by how the server does.
//
// The load is open: requests become due as if by people who don't know of each other, whether or not
// earlier ones were answered, and whoever measures counts from when one was due. A load that asks
// again only when it was answered waits while the server is slow and so leaves out the very requests
// that would have suffered: "coordinated omission" (Gil Tene, "How NOT to Measure Latency", Strange
// Loop 2015; HdrHistogram and wrk2 are his).

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * When requests are due, in ms: a Poisson process whose rate grows evenly to `rate` a second within
 * `ramp` seconds and stays for `hold`.
 */
export function* arrivals({ rate, ramp, hold }, next) {
  const rising = (rate * ramp) / 2; // requests while the rate grows
  const all = rising + rate * hold;
  const gap = () => -Math.log(1 - next());
  for (let at = gap(); at < all; at += gap()) {
    yield 1000 * (at < rising ? Math.sqrt((2 * ramp * at) / rate) : ramp + (at - rising) / rate);
  }
}

/** How many users there are after so many ms: from 1 to `users` within `ramp` seconds. */
export const usersAt = ({ users, ramp }, ms) =>
  ms >= 1000 * ramp ? users : 1 + Math.floor(((users - 1) * ms) / (1000 * ramp));

/** A load by rate: { due, picture, fresh }; `repeats` percent ask for what was asked for before. */
export function* byRate(scenario, pictures) {
  const next = random(scenario.seed);
  for (const due of arrivals(scenario, next)) {
    yield { due, picture: Math.floor(next() * pictures), fresh: 100 * next() >= scenario.repeats };
  }
}

/** A load by number, each due at once: exactly so many asked for before and never before, mixed. */
export function* byCount({ cached, uncached, seed }, pictures) {
  const next = random(seed);
  let fresh = uncached;
  for (let left = cached + uncached; left > 0; left--) {
    const isFresh = next() * left < fresh;
    fresh -= isFresh;
    yield { due: 0, picture: Math.floor(next() * pictures), fresh: isFresh };
  }
}

/**
 * Has each request sent when it is due, in order, and as soon as one of so many users at that moment
 * is free: each has one request in flight. send(request, begin) gets the time that `due` counts from, on
 * performance.now()'s clock. Resolves when all are answered.
 */
export function drive(requests, users, send) {
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    let next = requests.next();
    let busy = 0;
    let timer;
    const answered = () => {
      busy--;
      go();
    };
    function go() {
      clearTimeout(timer);
      const now = performance.now() - begin;
      while (!next.done && next.value.due <= now && busy < users(now)) {
        busy++;
        send(next.value, begin).then(answered, reject);
        next = requests.next();
      }
      if (next.done && busy === 0) resolve();
      else if (!next.done && next.value.due > now) timer = setTimeout(go, next.value.due - now);
    }
    go();
  });
}
