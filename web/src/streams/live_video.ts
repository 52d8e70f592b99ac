// Live video for a <video>: live.mp4 read as it comes, put into a MediaSource, and kept at its edge.

import { ApiError, request } from '../api/http.ts';

export type LiveState = 'connecting' | 'playing' | 'waiting';

/** How far behind the newest picture the shown one is, in seconds. */
const pace = {
  least: 0.5, // is wanted; more when boxes come later than that, so that they meet their pictures
  most: 2.5,
  hair: 0.2, // is let be
  jump: 1, // is too much, and it jumps
  faster: 1.1,
  slower: 0.9,
};
const keptS = 6; // of what was played, before it is let go
const mostWaiting = 16 << 20; // bytes that the MediaSource has not taken yet
const firstWaitMs = 1000;
const mostWaitMs = 10_000;
const mostFailures = 4; // in a row, without a picture

class Unplayable extends Error {}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = window.setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      window.clearTimeout(timer);
      resolve();
    });
  });

const event = (target: EventTarget, name: string, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = new AbortController();
    const end = (after: () => void) => (): void => {
      stop.abort();
      after();
    };
    target.addEventListener(name, end(resolve), { signal: stop.signal });
    target.addEventListener('error', end(() => reject(new Unplayable('the browser can not play it'))), { signal: stop.signal });
    signal.addEventListener('abort', end(() => reject(signal.reason as Error)), { signal: stop.signal });
  });

/** Keeps the shown picture close to the newest one: a little faster when late, a jump when too late. */
function keepUp(video: HTMLVideoElement, late: number): void {
  const { buffered } = video;
  if (buffered.length === 0) {
    return;
  }
  const from = buffered.start(buffered.length - 1);
  const edge = buffered.end(buffered.length - 1);
  const behind = edge - video.currentTime;
  const wanted = Math.min(Math.max(pace.least, late + pace.hair), pace.most);
  if (behind > wanted + pace.jump || behind < 0 || video.currentTime < from) {
    video.currentTime = Math.max(from, edge - wanted);
    video.playbackRate = 1;
  } else if (behind > wanted + pace.hair) {
    video.playbackRate = pace.faster;
  } else if (behind < wanted - pace.hair) {
    video.playbackRate = pace.slower;
  } else {
    video.playbackRate = 1;
  }
  video.dataset['behind'] = behind.toFixed(2);
}

async function append(video: HTMLVideoElement, buffer: SourceBuffer, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  const letGo = async (upTo: number): Promise<void> => {
    if (buffer.buffered.length > 0 && buffer.buffered.start(0) < upTo) {
      buffer.remove(0, upTo);
      await event(buffer, 'updateend', signal);
    }
  };
  try {
    buffer.appendBuffer(bytes as BufferSource);
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== 'QuotaExceededError') {
      throw new Unplayable(String(error));
    }
    await letGo(video.currentTime - 0.1);
    buffer.appendBuffer(bytes as BufferSource); // or the connection begins anew
  }
  await event(buffer, 'updateend', signal);
  if (buffer.buffered.length > 0 && video.currentTime - buffer.buffered.start(0) > 2 * keptS) {
    await letGo(video.currentTime - keptS);
  }
}

/** All chunks that have come since the last call, as one; null at the end. */
function chunksOf(body: ReadableStream<Uint8Array>): () => Promise<Uint8Array | null> {
  const reader = body.getReader();
  let waiting: Uint8Array[] = [];
  let size = 0;
  let ended = false;
  let wake: () => void = () => {};
  const read = async (): Promise<void> => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || size > mostWaiting) {
        break;
      }
      waiting.push(value);
      size += value.length;
      wake();
    }
    void reader.cancel();
  };
  void read()
    .catch(() => {}) // an abort, or a connection that broke: it has ended either way
    .then(() => {
      ended = true;
      wake();
    });
  return async () => {
    while (waiting.length === 0 && !ended) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (waiting.length === 0) {
      return null;
    }
    const all = new Uint8Array(size);
    let at = 0;
    for (const chunk of waiting) {
      all.set(chunk, at);
      at += chunk.length;
    }
    waiting = [];
    size = 0;
    return all;
  };
}

export interface Watching {
  onState: (state: LiveState) => void;
  onGiveUp: () => void; // it will not work here, and pictures may
  late: () => number; // so many seconds after their pictures boxes come
}

/** One connection, until it ends. True: it has shown something. */
async function connection(
  video: HTMLVideoElement,
  url: string,
  type: string,
  { onState: tell, late }: Pick<Watching, 'onState' | 'late'>,
  signal: AbortSignal,
): Promise<boolean> {
  const mine = new AbortController();
  const end = (): void => mine.abort(signal.reason);
  signal.addEventListener('abort', end);
  const source = new MediaSource();
  const address = URL.createObjectURL(source);
  let shown = false;
  try {
    const answer = request(url, { signal: mine.signal });
    answer.catch(() => {}); // it is waited for below
    video.src = address;
    await event(source, 'sourceopen', mine.signal);
    URL.revokeObjectURL(address);
    const { body } = await answer;
    const buffer = source.addSourceBuffer(type);
    const next = chunksOf(body as ReadableStream<Uint8Array>);
    for (let bytes = await next(); bytes !== null; bytes = await next()) {
      if (video.error || source.readyState !== 'open') {
        throw new Unplayable(video.error?.message ?? 'the video ended by itself');
      }
      await append(video, buffer, bytes, mine.signal);
      keepUp(video, late());
      if (!shown && video.buffered.length > 0) {
        shown = true;
        tell('playing');
        video.play().catch(() => {}); // muted video may play; if not, its first picture is shown
      }
    }
    return shown;
  } catch (error) {
    if (shown && error instanceof Unplayable) {
      return true; // it begins anew
    }
    throw error;
  } finally {
    signal.removeEventListener('abort', end);
    mine.abort();
    URL.revokeObjectURL(address);
  }
}

export const canPlayLive = (type: string | null | undefined): type is string =>
  Boolean(type) && typeof MediaSource !== 'undefined' && MediaSource.isTypeSupported(type as string);

/**
 * Plays live video, again and again when its connection ends. The answer ends it.
 */
export function playLive(
  video: HTMLVideoElement,
  url: string,
  type: string,
  { onState, onGiveUp, late }: Watching,
): () => void {
  const stop = new AbortController();
  const { signal } = stop;
  const run = async (): Promise<void> => {
    let failures = 0;
    while (!signal.aborted) {
      onState('connecting');
      try {
        failures = (await connection(video, url, type, { onState, late }, signal)) ? 0 : failures + 1;
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        failures += 1;
        if (error instanceof ApiError && (error.problem.status === 409 || error.problem.status === 404)) {
          failures = mostFailures;
        }
      }
      if (failures >= mostFailures) {
        onGiveUp();
        return;
      }
      if (!signal.aborted) {
        onState('waiting');
        await pause(Math.min(firstWaitMs * 2 ** failures, mostWaitMs), signal);
      }
    }
  };
  void run();
  return () => {
    stop.abort();
    video.removeAttribute('src');
    video.load(); // lets go of what it holds
  };
}
