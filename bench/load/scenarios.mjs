// The loads by name. Rates are requests a second, times seconds, repeats percent of the requests.
//
// users: so many connections at most, each with one request in flight; there is one at first and all of
// them after ramp seconds. rate 0: no schedule, `cached` and `uncached` requests as fast as they are
// answered. videos: so many jobs at once, each of video_seconds.

const nothing = { seed: 1, users: 1, rate: 0, ramp: 0, hold: 0, repeats: 80, cached: 0, uncached: 0, videos: 0, video_seconds: 30 };

/** A scenario of its own. */
export const made = (name, settings) => ({ ...nothing, name, ...settings });

export const scenarios = {
  // a minute of everything, for `bench/run load`
  short: [
    made('ramp', { users: 64, rate: 50, ramp: 5, hold: 10 }),
    made('right', { users: 16, cached: 4000, uncached: 200 }),
    made('videos', { videos: 2, video_seconds: 4 }),
  ],
  // the goal for processors alone: 200 a second at 80 % hits, p95 under 200 ms
  mixed: [made('mixed', { users: 64, rate: 200, ramp: 10, hold: 60 })],
  // the guide's: 1 to 500 users within 2 minutes, 10 minutes, about one request a second of each
  guide: [made('guide', { users: 500, rate: 520, ramp: 120, hold: 600 })],
  // the same requests by more and more users
  users: [1, 16, 64, 250, 500].map((users) => made(`${users} users`, { users, rate: 100, ramp: 2, hold: 20 })),
  // no answer goes to somebody else
  right: [made('right', { users: 64, cached: 1_000_000, uncached: 10_000 })],
  // the guide's: 50 jobs of 30 s in 1080p at once
  videos: [made('videos', { videos: 50, video_seconds: 30 })],
};

/** A scenario's steps with what the options set instead; of several steps, where they have it at all. */
export function choose(name, options) {
  const steps = scenarios[name];
  if (!steps) {
    throw new Error(`there is no scenario '${name}'; use ${Object.keys(scenarios).join(', ')}`);
  }
  return steps.map((step) => {
    const set = Object.entries(options).filter(([option]) => steps.length === 1 || step[option] > 0);
    return { ...step, ...Object.fromEntries(set) };
  });
}
