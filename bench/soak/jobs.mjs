// Video jobs, all along: some of a video of their own, some cancelled, each followed to its end and its frames held
// against those of the same clip when it was alone.
import { createHash } from 'node:crypto';
import { randomFrom } from '../../tests/e2e/lib/random.mjs';
import { sleep } from '../lib.mjs';
import { count } from '../load/tally.mjs';
import { another } from '../load/videos.mjs';
import { askHost, jsonOf } from './ask.mjs';

export const FINAL = ['succeeded', 'failed', 'cancelled', 'dead'];
const AT_ONCE = 3;
const LOOK_MS = 1000;

const frames = (body) => createHash('sha256').update(body).digest('hex');

export class Jobs {
  all = new Map(); // id to { key, ends: how many are due, cancelled }
  states = {};
  retried = 0;
  askedAgain = 0;

  constructor({ world, journal, clip, options, seed, over }) {
    Object.assign(this, { world, journal, clip, options, seed, over, random: randomFrom(seed), number: 0 });
  }

  /** Asks at hosts by chance until there is an answer that was hoped for. */
  async #insist(kind, path, init, good = [200]) {
    for (;;) {
      const from = Date.now();
      const answer = await askHost(this.world, this.random.pick(this.world.hosts), path, init);
      if (this.journal.enter(kind, answer, from, good)) return answer;
      await sleep(500);
    }
  }

  async #upload(bytes) {
    const answer = await this.#insist('upload', '/api/v1/videos?name=soak.mp4',
      { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: bytes }, [200, 201]);
    return answer.value().id;
  }

  /** Enters a job under a key of its own; asked twice, there has to be one all the same. */
  async #submit(video) {
    const key = `soak-${this.seed}-${this.number++}`;
    const wanted = jsonOf('POST', { video_id: video, ...this.options, webhook_url: this.world.receiver.url },
      { 'Idempotency-Key': key });
    const once = async () => (await this.#insist('job', '/api/v1/videos/process', wanted, [200, 202])).value().id;
    const id = await once();
    if (this.all.has(id)) this.journal.broken(`job ${id} is the answer to two keys`);
    this.all.set(id, { key, ends: 1, cancelled: false });
    if (this.random.chance(0.2)) {
      this.askedAgain++;
      const again = await once();
      if (again !== id) this.journal.broken(`key ${key} stands for job ${id}, then for ${again}`);
    }
    return id;
  }

  async #ended(id) {
    for (;;) {
      const job = (await this.#insist('look at a job', `/api/v1/jobs/${id}`)).value();
      if (FINAL.includes(job.state)) return job;
      await sleep(LOOK_MS);
    }
  }

  async #judge(job, from) {
    const known = this.all.get(job.id);
    count(this.states, job.state);
    if (job.state === 'cancelled' && !known.cancelled) this.journal.broken(`job ${job.id} was cancelled by nobody`);
    if (job.state === 'succeeded') {
      const { body } = await this.#insist('result', `/api/v1/jobs/${job.id}/results/frames.ndjson`);
      if (this.truth === undefined) this.truth = frames(body);
      else if (frames(body) !== this.truth) this.journal.broken(`job ${job.id} found other things than the same clip alone`);
    }
    if (!['failed', 'dead'].includes(job.state)) return false;
    const why = `job ${job.id} is ${job.state}: ${job.error}`;
    if (this.world.weather.between(from, Date.now()).length === 0) this.journal.broken(why);
    else console.log(`  ${why}`);
    return true;
  }

  /** One job to its end, and on when a fault has made it fail. */
  async one({ own = false, cancel = false } = {}) {
    const from = Date.now();
    const video = own ? await this.#upload(another(this.clip)) : this.video;
    const id = await this.#submit(video);
    if (cancel) {
      await sleep(this.random.between(0, 3000));
      this.all.get(id).cancelled = true;
      await this.#insist('cancel', `/api/v1/jobs/${id}`, { method: 'DELETE' }, [200, 202, 204, 409]);
    }
    while (await this.#judge(await this.#ended(id), from)) {
      this.retried++;
      await this.#insist('retry', `/api/v1/jobs/${id}/retry`, { method: 'POST' }, [202, 409]);
      this.all.get(id).ends++;
    }
    if (own) await this.#insist('remove a video', `/api/v1/videos/${video}`, { method: 'DELETE' }, [200, 204, 404]);
  }

  /** What the clip holds when it is alone. */
  async learn() {
    this.video = await this.#upload(this.clip);
    await this.one();
    if (this.truth === undefined) throw new Error('the clip alone was not analysed');
  }

  /** Jobs until it is over, and then to the end of those that were accepted. */
  async run() {
    const hand = async () => {
      while (!this.over()) {
        await this.one({ own: this.random.chance(0.3), cancel: this.random.chance(0.1) });
        await sleep(this.random.between(500, 4000));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, hand));
  }
}
