// Who asks for pictures and for lists, and who uploads, all along: each at a host by chance, one request after the other.
import { randomFrom } from '../../tests/e2e/lib/random.mjs';
import { NEXUS_PATH, post, sleep } from '../lib.mjs';
import { mark, mistake } from '../load/pictures.mjs';
import { openAgent } from '../load/run.mjs';
import { another } from '../load/videos.mjs';
import { askHost, jsonOf } from './ask.mjs';

const FRESH = 0.4; // of the pictures; the others may be in the cache
const LISTS = ['/api/v1/jobs', '/api/v1/videos', '/api/v1/streams', '/api/v1/events', '/api/v1/models'];

/** Pictures until it is over; each answer has to be that of its picture. */
export async function askPictures({ world, journal, known, seed, over }) {
  const random = randomFrom(seed);
  const agent = openAgent(2);
  for (let number = 0; !over(); number++) {
    const picture = random.pick(known.list);
    const host = random.pick(world.hosts);
    const tail = random.chance(FRESH) ? mark() : undefined;
    const id = `soak-${seed}-${number}`;
    const from = Date.now();
    const headers = { ...world.headers, 'x-request-id': id };
    const answer = await post(host.url, picture.bytes, agent, NEXUS_PATH, { headers, tail });
    if (journal.enter('picture', answer, from)) {
      const named = answer.headers['x-request-id'];
      const why = named === id ? mistake(known, picture, answer.body) : `${id} was answered with the answer to ${named}`;
      if (why) journal.broken(why);
    }
    await sleep(random.between(50, 400));
  }
  agent.destroy();
}

/** Lists, and now and then a password that is wrong, which the audit log has to have. */
export async function askLists({ world, journal, seed, over }) {
  const random = randomFrom(seed);
  while (!over()) {
    const host = random.pick(world.hosts);
    const from = Date.now();
    if (random.chance(0.05)) {
      const wrong = jsonOf('POST', { name: 'nobody', password: 'not the right one' });
      journal.enter('wrong password', await askHost(world, host, '/api/v1/auth/login', wrong), from, [401, 429]);
    } else {
      journal.enter('list', await askHost(world, host, random.pick(LISTS)), from);
    }
    await sleep(random.between(200, 800));
  }
}

/** Videos that come and go; what was confirmed has to be there, at whatever host, to the byte. */
export async function askUploads({ world, journal, clip, seed, over }) {
  const random = randomFrom(seed);
  const ask = async (kind, path, good, init) => {
    const from = Date.now();
    const answer = await askHost(world, random.pick(world.hosts), path, init);
    return journal.enter(kind, answer, from, good) ? answer : undefined;
  };
  while (!over()) {
    const bytes = another(clip);
    const kept = await ask('upload', '/api/v1/videos?name=comes-and-goes.mp4', [201],
      { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: bytes });
    if (kept) {
      const path = `/api/v1/videos/${kept.value().id}`;
      const content = await ask('content of a video', `${path}/content`, [200]);
      if (content && !content.body.equals(bytes)) journal.broken(`${path} has other bytes than were uploaded`);
      while (!over() && !(await ask('remove a video', path, [204, 404], { method: 'DELETE' }))) await sleep(500);
    }
    await sleep(random.between(300, 1500));
  }
}
