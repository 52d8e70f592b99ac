// The load of bench/load, shortened: what many clients at once are told is right, nothing fails, and
// /metrics counts what they have counted. How fast it goes is none of this test's business.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { NEXUS_PATH, pictures } from '../../bench/lib.mjs';
import { compare } from '../../bench/load/agreement.mjs';
import { scrape } from '../../bench/load/metrics.mjs';
import { coco, learn } from '../../bench/load/pictures.mjs';
import { startPlace } from '../../bench/load/place.mjs';
import { faults, openAgent, run } from '../../bench/load/run.mjs';
import { made } from '../../bench/load/scenarios.mjs';
import { arrivals, byCount, drive, random, usersAt } from '../../bench/load/schedule.mjs';
import { Tally } from '../../bench/load/tally.mjs';
import { learnClip } from '../../bench/load/videos.mjs';
import { sharedPath, skipWithoutShared } from './lib/server.mjs';

const skip = skipWithoutShared();

describe('a load', { skip }, () => {
  let place;
  let server;
  let known;
  let clip;

  before(async () => {
    place = await startPlace();
    server = { ...place, path: NEXUS_PATH, counts: true };
    const agent = openAgent(1);
    known = await learn(server.url, [...pictures(), ...coco(6)], { ...server, agent });
    agent.destroy();
    clip = await learnClip(server, readFileSync(sharedPath('videos/car-detection.mp4')), { stride: 60 });
  });
  after(() => place?.stop());

  /** The outcome of a scenario that has no faults. */
  async function clean(settings) {
    const outcome = await run(server, known, made('test', settings), clip);
    assert.deepEqual(faults(outcome), []);
    return outcome;
  }

  it('of more and more users is served and counted', async () => {
    const { tally } = await clean({ users: 16, rate: 20, ramp: 2, hold: 2, repeats: 90 });
    assert.ok(tally.caches.hit > tally.caches.miss, JSON.stringify(tally.caches));
  });

  it('of many at once gives each the answer to its own picture', async () => {
    const { tally } = await clean({ users: 16, cached: 600, uncached: 24 });
    assert.deepEqual(tally.statuses, { 200: 624 });
    assert.ok(tally.caches.miss >= 24 && tally.caches.hit > 500, JSON.stringify(tally.caches));
  });

  it('of videos beside pictures gives each its own results', async () => {
    const { jobs, tally } = await clean({ users: 4, rate: 8, hold: 2, repeats: 90, videos: 2 });
    assert.equal(jobs.succeeded, 2);
    assert.ok(tally.statuses[200] > 0);
  });

  it('sees what is wrong: an answer that is another one\'s, and counts that are not the server\'s', async () => {
    const [first, second, ...others] = known.list;
    const list = [{ ...first, bytes: second.bytes }, { ...second, bytes: first.bytes }, ...others];
    const start = await scrape(server.url);
    const outcome = await run(server, { ...known, list }, made('test', { users: 2, cached: 60 }));
    const found = faults(outcome).join('\n');
    assert.match(found, new RegExp(`${first.name} was answered with what is in ${second.name}`));
    const rows = compare(new Tally(), start, await scrape(server.url), server.path, 0);
    assert.deepEqual(rows.map(({ agrees }) => agrees), [false, false]);
  });
});

describe('the schedule of a load', () => {
  it('rises evenly to its rate, and is the same for the same seed', () => {
    const load = { rate: 1000, ramp: 10, hold: 10 };
    const times = [...arrivals(load, random(7))];
    assert.deepEqual([...arrivals(load, random(7))], times);
    const within = (from, to) => times.filter((ms) => ms >= from && ms < to).length;
    const near = (expected, count) => assert.ok(Math.abs(count - expected) < 5 * Math.sqrt(expected), `${count}`);
    near(1250, within(0, 5000));
    near(3750, within(5000, 10_000));
    near(10_000, within(10_000, 20_000));
    assert.deepEqual([0, 5000, 10_000, 99_000].map((ms) => usersAt({ users: 101, ramp: 10 }, ms)), [1, 51, 101, 101]);
  });

  it('has exactly so many pictures that were never sent before', () => {
    const fresh = [...byCount({ cached: 900, uncached: 100, seed: 3 }, 12)].map((request) => request.fresh);
    assert.deepEqual([fresh.length, fresh.filter(Boolean).length], [1000, 100]);
    assert.ok(fresh.slice(0, 500).filter(Boolean).length > 25, 'mixed');
  });

  it('counts from when a request was due, though nobody was free to send it', async () => {
    const waits = [];
    const requests = [0, 0, 0].map((due) => ({ due }));
    const slow = async ({ due }, begin) => {
      waits.push(performance.now() - begin - due);
      await new Promise((resolve) => { setTimeout(resolve, 30); });
    };
    await drive(requests[Symbol.iterator](), () => 1, slow);
    assert.ok(waits[2] >= 55, `${waits}`);
  });
});
