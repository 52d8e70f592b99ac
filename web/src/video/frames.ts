// What a job saw, frame by frame: its NDJSON read as it comes, and asked on for while the job runs.

import { bodyOf, request } from '../api/http.ts';
import type { Detection } from '../api/inference.ts';

const mostBytes = 160_000_000; // of text; an hour of a busy street
const keptS = 1; // an older frame says nothing about this moment

export interface FrameObject extends Detection {
  track_id?: number;
}

export interface FrameRecord {
  frame: number;
  time: number; // seconds since the first frame
  objects: FrameObject[];
}

export interface FrameStore {
  frames: FrameRecord[];
  complete: boolean; // the job has ended, and this is all of it
  cut: boolean; // there is more than a browser should hold
  bytes: number; // read so far
}

export const noFrames: FrameStore = { frames: [], complete: false, cut: false, bytes: 0 };

/** Lines as they come, without those that are not whole yet. */
async function* lines(body: ReadableStream<Uint8Array>, onBytes: (size: number) => void): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      onBytes(value.length);
      rest += decoder.decode(value, { stream: true });
      const parts = rest.split('\n');
      rest = parts.pop() ?? '';
      yield* parts;
    }
  } finally {
    await reader.cancel(); // of a body that is wanted no further, too; else it is sent on
  }
}

/** Adds what an answer has to what is known already. */
async function take(response: Response, store: FrameStore): Promise<void> {
  if (!response.body) {
    return;
  }
  const count = (size: number): void => {
    store.bytes += size;
  };
  for await (const line of lines(response.body, count)) {
    if (line !== '') {
      store.frames.push(JSON.parse(line) as FrameRecord);
    }
    if (store.bytes > mostBytes) {
      store.cut = true;
      return;
    }
  }
}

/** All that has come since `before`; the same object when nothing has. */
export async function readOn(url: string, before: FrameStore, signal: AbortSignal): Promise<FrameStore> {
  if (before.complete || before.cut) {
    return before;
  }
  // From the last byte that is known on, a line break: so there is always something to answer.
  const from = Math.max(0, before.bytes - 1);
  // no-store: a file that grows, in parts, is nothing for the browser to keep
  const init: RequestInit = { signal, cache: 'no-store', headers: from > 0 ? { Range: `bytes=${from}-` } : {} };
  const response = await request(url, init);
  const isRest = response.status === 206;
  const store: FrameStore = {
    frames: isRest ? before.frames.slice() : [],
    complete: response.headers.get('X-Nexus-Complete') === 'true',
    cut: false,
    bytes: isRest ? from : 0,
  };
  await bodyOf(response, (answer) => take(answer, store), signal);
  return store;
}

/** The frame that is shown at a time of the video; null where the job looked at none. */
export function frameAt(frames: readonly FrameRecord[], time: number): FrameRecord | null {
  let low = 0;
  let high = frames.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((frames[middle] as FrameRecord).time <= time) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const found = frames[low - 1];
  return found && time - found.time <= keptS ? found : null;
}

export interface Timeline {
  times: number[]; // seconds, where each step begins
  classes: { id: number; name: string; counts: number[] }[]; // most at once in each step; the busiest first
}

const mostSteps = 400;
const mostClasses = 5;

/** How many of each class there were over time. */
export function timelineOf(frames: readonly FrameRecord[]): Timeline {
  const last = frames.at(-1)?.time ?? 0;
  const step = Math.max(last / mostSteps, 0.2);
  const steps = frames.length === 0 ? 0 : Math.floor(last / step) + 1;
  const counts = new Map<number, { name: string; counts: number[]; sum: number }>();
  for (const { time, objects } of frames) {
    const here = new Map<number, number>();
    for (const { class_id: id, class_name: name } of objects) {
      here.set(id, (here.get(id) ?? 0) + 1);
      if (!counts.has(id)) {
        counts.set(id, { name, counts: new Array<number>(steps).fill(0), sum: 0 });
      }
    }
    const at = Math.floor(time / step);
    for (const [id, number] of here) {
      const entry = counts.get(id)!;
      entry.counts[at] = Math.max(entry.counts[at] ?? 0, number);
      entry.sum += number;
    }
  }
  return {
    times: Array.from({ length: steps }, (_, i) => i * step),
    classes: [...counts]
      .map(([id, entry]) => ({ id, ...entry }))
      .sort((a, b) => b.sum - a.sum)
      .slice(0, mostClasses)
      .map(({ id, name, counts: list }) => ({ id, name, counts: list })),
  };
}
