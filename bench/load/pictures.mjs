// The pictures of a load, and what is found in each when it is asked for alone.
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ffmpeg } from '../jobs.mjs';
import { pictures as trafficPictures, post, shared } from '../lib.mjs';

const named = (path) => ({ name: basename(path), bytes: readFileSync(path) });

/** The first pictures of COCO as they are. */
export function coco(count) {
  const folder = join(shared, 'coco/images');
  return readdirSync(folder).sort().slice(0, count).map((name) => join(folder, name));
}

/** The same, and the four of the traffic, as JPEGs of 1920x1080, below folder. */
export function madeLarge(folder, count) {
  const made = join(folder, 'pictures');
  mkdirSync(made);
  const large = coco(count).map((path) => {
    const to = join(made, basename(path));
    const fit = 'scale=1920:1080:force_original_aspect_ratio=decrease,pad=1920:1080:-1:-1';
    ffmpeg('-i', path, '-vf', fit, '-q:v', 4, to);
    return to;
  });
  return [...trafficPictures(), ...large];
}

const seed = randomBytes(8);
let marks = 0n;

/** Bytes that make a picture one that was never sent before, when they stand behind its end. */
export function mark() {
  const bytes = Buffer.alloc(16);
  seed.copy(bytes);
  bytes.writeBigUInt64BE(marks++, 8);
  return bytes;
}

/** What an answer says that depends on the picture alone. */
function substance(body) {
  const { image, detections } = JSON.parse(body);
  return JSON.stringify({ image, detections });
}

/**
 * Reads the files and asks the server for each, one after the other. { list, whose(body) }: list has
 * { name, bytes, truth } in the order of the files, whose() the names of those that an answer fits.
 */
export async function learn(url, files, { agent, path, headers }) {
  const list = files.map(named);
  for (const picture of list) {
    const answer = await post(url, picture.bytes, agent, path, { headers });
    if (answer.status !== 200) {
      throw new Error(`${picture.name}, asked for alone: ${answer.status ?? answer.error} ${answer.body ?? ''}`);
    }
    picture.truth = substance(answer.body);
  }
  const whose = (text) => list.filter(({ truth }) => truth === text).map(({ name }) => name);
  return { list, whose };
}

/** Why an answer is not that of its picture, naming both; or nothing. */
export function mistake(known, picture, body) {
  let said;
  try {
    said = substance(body);
  } catch {
    return `${picture.name} was answered with what is no JSON: ${String(body).slice(0, 80)}`;
  }
  if (said === picture.truth) return undefined;
  const [other] = known.whose(said);
  return `${picture.name} was answered with ${other ? `what is in ${other}` : `what is in no picture: ${said.slice(0, 200)}`}`;
}
