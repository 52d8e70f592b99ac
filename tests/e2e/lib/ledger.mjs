// Writers that ask for everything at once and note what a server has confirmed, and whether another one that comes after
// it still has all of that: videos, resumable uploads, jobs and their events, keys, models, and a camera's events.

import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { sha256 } from './hash.mjs';
import { eventually } from './server.mjs';
import { tinyModel } from './tiny_model.mjs';

const ENDED = ['succeeded', 'failed', 'cancelled', 'dead'];
const PATIENCE_MS = 60_000;
const UNENDED = 4; /* jobs that there are at any time */
const MOST_VIDEOS = 150; /* that there are at any time: a small disk has to hold them */
const LARGEST = 300_000; /* bytes that a video is longer than its pictures */
const TUS = { 'Tus-Resumable': '1.0.0' };


export class Ledger {
  /** clip: a video's bytes. works: jobs to ask for, each { options, calm: name to hash of its files undisturbed }. */
  constructor({ random, clip, headers }) {
    Object.assign(this, { random, clip, headers, works: [] });
    this.server = undefined;
    this.away = false; /* since then nobody needs to answer */
    this.videos = new Map(); /* id to hash of what was confirmed */
    this.tried = new Set(); /* hashes of what may be there */
    this.removed = new Set();
    this.doubted = new Set(); /* videos whose removal nobody confirmed */
    this.uploads = new Map(); /* place to { bytes, offset } */
    this.jobs = new Map(); /* key to { id, work, cancelled, asked: to end, told: events that somebody has seen } */
    this.keys = new Map(); /* id to { headers, revoked } */
    this.models = new Set();
    this.events = new Map(); /* id to { event, picture: hash } */
    this.contradictions = []; /* events that were told in two ways */
    this.interrupted = 0;
    this.met = { running: 0, ended: 0 }; /* jobs, by those who took everything away */
    this.made = 0;
  }

  /** What is answered; undefined: nobody is there any more. */
  async ask(path, init = {}, wanted = [200]) {
    let response;
    let body;
    try {
      response = await fetch(new URL(path, `${this.server.url}/api/v1/`), { ...init, headers: { ...this.headers, ...init.headers } });
      body = Buffer.from(await response.arrayBuffer());
    } catch (error) {
      assert.ok(this.away, `${path}: ${error.cause ?? error}\n${this.server.logs().slice(-2000)}`);
      this.interrupted += 1;
      return undefined;
    }
    if (!wanted.includes(response.status)) {
      assert.ok(this.away, `${path}: ${response.status} ${body}`);
      return undefined;
    }
    return { status: response.status, headers: response.headers, body, json: () => JSON.parse(body) };
  }

  post(path, value, wanted, headers = {}) {
    return this.ask(path, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(value) }, wanted);
  }

  /** A video that nobody has yet: the clip, and a box of ISO/IEC 14496-12 (8.1.2) that says nothing. */
  bytes() {
    const box = Buffer.alloc(this.random.between(16, LARGEST), `${this.random.next()} `);
    box.writeUInt32BE(box.length);
    box.write('free', 4, 'latin1');
    const all = Buffer.concat([this.clip, box]);
    this.tried.add(sha256(all));
    return all;
  }

  async addVideo() {
    if (this.videos.size >= MOST_VIDEOS) {
      await wait(10);
      return;
    }
    const bytes = this.bytes();
    const answer = await this.ask('videos?name=a.mp4', { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: bytes }, [201]);
    if (answer !== undefined) {
      this.videos.set(answer.json().id, sha256(bytes));
    }
  }

  async removeVideo() {
    const id = this.random.pick([...this.videos.keys()]);
    if (id !== undefined) {
      this.doubted.add(id);
      const answer = await this.ask(`videos/${id}`, { method: 'DELETE' }, [204]);
      this.videos.delete(id);
      if (answer !== undefined) {
        this.doubted.delete(id);
        this.removed.add(id);
      }
    }
  }

  async upload() {
    if (this.videos.size + this.uploads.size >= MOST_VIDEOS) {
      await wait(10);
      return;
    }
    const bytes = this.bytes();
    const begun = await this.ask('uploads', { method: 'POST', headers: { ...TUS, 'Upload-Length': String(bytes.length) } }, [201]);
    if (begun !== undefined) {
      const place = begun.headers.get('location');
      this.uploads.set(place, { bytes, offset: 0 });
      await this.goOn(place);
    }
  }

  /** Sends the rest of an upload piece by piece. */
  async goOn(place) {
    const upload = this.uploads.get(place);
    let answer = true;
    while (answer !== undefined && upload.offset < upload.bytes.length) {
      const end = upload.offset + this.random.between(1, LARGEST / 4);
      answer = await this.ask(place, {
        method: 'PATCH',
        headers: { ...TUS, 'Upload-Offset': String(upload.offset), 'Content-Type': 'application/offset+octet-stream' },
        body: upload.bytes.subarray(upload.offset, end),
      }, [204]);
      upload.offset = Number(answer?.headers.get('upload-offset') ?? upload.offset);
    }
  }

  async submit() {
    if (this.jobs.size - this.hasEnded() >= UNENDED) {
      await wait(10);
      return;
    }
    const key = `job-${this.jobs.size}`;
    const job = { id: undefined, work: this.random.pick(this.works), cancelled: false, asked: false, told: [] };
    this.jobs.set(key, job);
    const answer = await this.post('videos/process', job.work.options, [202], { 'Idempotency-Key': key });
    job.id = answer?.json().id;
    if (job.id !== undefined) {
      this.follow(job);
      if (this.random.chance(0.2)) {
        job.cancelled = undefined; // it may be or not
        const cancelled = await this.ask(`jobs/${job.id}`, { method: 'DELETE' }, [200, 202, 409]);
        job.asked = cancelled?.status === 202; // it may end before it hears of it
        job.cancelled = job.asked ? undefined : cancelled && cancelled.status === 200;
      }
    }
  }

  /** Takes in a job's events until it ends, or the server does. What was told before is not told otherwise. */
  async follow(job) {
    try {
      const answer = await fetch(`${this.server.url}/api/v1/jobs/${job.id}/events`, { headers: this.headers });
      let text = '';
      let seen = 0;
      for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const parts = text.split('\n\n');
        text = parts.pop();
        for (const found of parts.map((part) => /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/.exec(part)).filter(Boolean)) {
          const event = { seq: Number(found[1]), kind: found[2], ...JSON.parse(found[3]) };
          if (JSON.stringify(event) !== JSON.stringify(job.told[seen] ?? event)) {
            this.contradictions.push([job.told[seen], event]);
          }
          job.told[seen++] = event;
        }
      }
    } catch {
      // it was killed
    }
  }

  async addKey() {
    const answer = await this.post('keys', { name: 'one', scopes: ['read'] }, [201]);
    if (answer === undefined) {
      return;
    }
    const { id, key } = answer.json();
    const kept = { headers: { Authorization: `Bearer ${key}`, Cookie: '', 'X-CSRF-Token': '' }, revoked: false };
    this.keys.set(id, kept);
    if (this.random.chance(0.5)) {
      kept.revoked = undefined; // it may be or not
      const gone = await this.ask(`keys/${id}`, { method: 'DELETE' }, [204]);
      kept.revoked = gone === undefined ? undefined : true;
    }
    await wait(this.random.between(0, 50));
  }

  async addModel() {
    const name = `model-${this.made++}`;
    const answer = await this.ask(`models?name=${name}`, {
      method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: tinyModel(undefined, this.random.next()),
    }, [201]);
    if (answer !== undefined) {
      this.models.add(name);
    }
    await wait(this.random.between(100, 500));
  }

  /** Sees what a camera's rules have told of. */
  async look() {
    const answer = await this.ask('events?limit=200');
    for (const event of answer?.json().items.filter(({ id }) => !this.events.has(id)) ?? []) {
      const picture = await this.ask(event.snapshot);
      if (picture !== undefined) {
        this.events.set(event.id, { event, picture: sha256(picture.body) });
      }
    }
    await wait(20);
  }

  /** Everybody writes at once, until they meet their end; resolves when all have noticed. */
  write(server) {
    this.server = server;
    this.away = false;
    const writers = ['addVideo', 'addVideo', 'removeVideo', 'upload', 'submit', 'addKey', 'addModel', 'look'];
    const stopped = Promise.all(writers.map(async (writer) => {
      while (!this.away) {
        await this[writer]();
        await wait(writer === 'removeVideo' ? 100 : 0);
      }
    }));
    stopped.catch(() => {}); // whoever waits for it is told
    return stopped;
  }

  jobsThat(fit) {
    return [...this.jobs.values()].filter(({ told }) => fit(told.at(-1) ?? {}));
  }

  hasEnded() {
    return this.jobsThat(({ state }) => ENDED.includes(state)).length;
  }

  /** Notes what is met by somebody who takes everything away now. */
  meet() {
    this.away = true;
    this.met.running += this.jobsThat(({ kind, state }) => kind === 'progress' || state === 'running').length;
    this.met.ended = this.hasEnded();
  }

  /** The disk loses what nobody waited for: who does a job, and how far it is. That may be told otherwise then. */
  soften() {
    this.jobsThat(({ state }) => !ENDED.includes(state)).forEach((job) => { job.told = []; });
  }

  /** Everything that was confirmed is there, and nothing half. */
  async check(server) {
    this.server = server;
    this.away = false;
    await this.checkUploads();
    await this.checkVideos();
    await this.checkKeys();
    for (const [id, { event, picture }] of this.events) {
      assert.deepEqual((await this.ask(`events/${id}`)).json(), event);
      assert.equal(sha256((await this.ask(event.snapshot)).body), picture);
    }
    for (const name of this.models) {
      assert.equal((await this.ask(`models/${name}`)).json().versions.length, 1);
    }
    for (const [key, job] of this.jobs) { // of an answer that never came one is told now
      const { id } = (await this.post('videos/process', job.work.options, [200, 202], { 'Idempotency-Key': key })).json();
      assert.equal(id, job.id ?? id);
      job.id = id;
      this.follow(job);
    }
  }

  async checkUploads() {
    for (const [place, upload] of this.uploads) {
      const head = await this.ask(place, { method: 'HEAD', headers: TUS });
      const offset = Number(head.headers.get('upload-offset'));
      assert.ok(offset >= upload.offset, `${offset} bytes, not ${upload.offset}`);
      if (offset < upload.bytes.length) {
        upload.offset = offset;
        await this.goOn(place);
      } else { // whoever was told that all is there but not of the video asks again
        await this.ask(place, {
          method: 'PATCH', headers: { ...TUS, 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream' },
        }, [204]);
      }
      const { video } = (await this.ask(place)).json();
      this.videos.set(video.split('/').at(-1), sha256(upload.bytes));
      this.uploads.delete(place);
    }
  }

  async checkVideos() {
    const there = new Map();
    for (let cursor = ''; cursor !== null;) {
      const page = (await this.ask(`videos?limit=200${cursor}`)).json();
      page.items.forEach((video) => there.set(video.id, video));
      cursor = page.next_cursor === null ? null : `&cursor=${encodeURIComponent(page.next_cursor)}`;
    }
    for (const [id, hash] of this.videos) {
      assert.equal(there.get(id)?.sha256, hash, `${id} was confirmed`);
    }
    for (const id of this.removed) {
      assert.ok(!there.has(id), `${id} was removed`);
    }
    for (const [id, video] of there) {
      assert.ok(this.tried.has(video.sha256) || this.works.some(({ options }) => options.video_id === id));
      assert.equal(sha256((await this.ask(`videos/${id}/content`)).body), video.sha256);
    }
    this.doubted.forEach((id) => there.has(id) && this.videos.set(id, there.get(id).sha256));
    this.doubted.clear();
  }

  async checkKeys() {
    for (const [id, key] of this.keys) {
      const { status } = await this.ask('jobs?limit=1', { headers: key.headers }, key.revoked === undefined ? [200, 401] : [key.revoked ? 401 : 200]);
      key.revoked = status === 401;
      assert.ok(id);
    }
  }

  /** Each job ends, once, and with the files of one that nobody disturbed. */
  async checkJobs() {
    for (const job of this.jobs.values()) {
      await eventually(async () => {
        await this.follow(job);
        return ENDED.includes(job.told.at(-1)?.state);
      }, `job ${job.id} ends`, PATIENCE_MS);
      const states = job.told.filter(({ kind }) => kind === 'state').map(({ state }) => state);
      assert.deepEqual(job.told.map(({ seq }) => seq), job.told.map((_, i) => i + 1));
      assert.match(states.join(), /^queued(,running(,queued,running)*)?(,queued)?,(succeeded|cancelled)$/);
      const cancelled = states.at(-1) === 'cancelled';
      assert.equal(cancelled, job.cancelled ?? cancelled, states.join());
      if (job.asked && !cancelled) {
        assert.ok((await this.ask(`jobs/${job.id}`)).json().cancel_requested, 'that was not forgotten');
      }
      if (!cancelled) {
        assert.deepEqual(await this.results(job.id), job.work.calm);
      }
    }
    assert.deepEqual(this.contradictions, []);
    assert.equal((await this.ask('jobs?limit=200')).json().items.length, this.jobs.size + this.works.length);
  }

  /** Name to hash of a job's files. */
  async results(id) {
    const found = {};
    for (const { name } of (await this.ask(`jobs/${id}`)).json().results) {
      found[name] = sha256((await this.ask(`jobs/${id}/results/${name}`)).body);
    }
    return found;
  }
}
