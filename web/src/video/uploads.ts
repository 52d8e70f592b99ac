// Videos on their way to the server, by tus 1.0.0: in pieces, so that a lost connection or a reload
// loses no more than one. They go on while other pages are looked at.

import { ApiError, isPassing, request, requestJson, type Problem } from '../api/http.ts';
import { observable } from '../observable.ts';
import { entered, me } from '../shell/session.ts';

const firstPiece = 1 << 20;
const largestPiece = 16 << 20;
const mostTries = 6; // in a row without a byte of progress
const backoffMs = 800;
const storageKey = 'nexus-uploads';

export interface Upload {
  key: string; // of the file: what it is known by after a reload
  name: string;
  size: number;
  sent: number;
  state: 'sending' | 'waiting' | 'paused' | 'lost' | 'done' | 'failed';
  // waiting: for the connection; paused: given up for now; lost: the page was loaded anew, and the
  // file must be chosen again
  problem: Problem | null;
  video: string | null; // where it is, when it is done
}

export const uploads = observable<readonly Upload[]>([]);

interface Kept {
  key: string;
  name: string;
  size: number;
  url: string; // of the upload
  by: string; // whose; '' in open use
}

const files = new Map<string, File>();
const stops = new Map<string, AbortController>();
const afterSignIn = new Map<string, () => void>(); // what goes on then

let owner = ''; // whoever was signed in last; behind the door it is still theirs

/** What the owner has not finished. */
function kept(): Kept[] {
  try {
    const list = JSON.parse(localStorage.getItem(storageKey) ?? '[]') as Kept[];
    return list.filter(({ by }) => by === owner);
  } catch {
    return []; // storage is forbidden, or has something else
  }
}

function keep(change: (list: Kept[]) => Kept[]): void {
  try {
    const list = change(kept());
    if (list.length > 0) {
      localStorage.setItem(storageKey, JSON.stringify(list));
    } else {
      localStorage.removeItem(storageKey);
    }
  } catch {
    // Then an upload lasts as long as the page.
  }
}

const forget = (key: string): void => keep((list) => list.filter((entry) => entry.key !== key));
const keyOf = (file: File): string => `${file.name}/${file.size}/${file.lastModified}`;

function put(key: string, change: Partial<Upload>): void {
  uploads.set(uploads.get().map((upload) => (upload.key === key ? { ...upload, ...change } : upload)));
}

const tus = { 'Tus-Resumable': '1.0.0' };

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

async function begin(file: File, signal: AbortSignal): Promise<string> {
  const response = await request('/api/v1/uploads', {
    method: 'POST',
    headers: { ...tus, 'Upload-Length': String(file.size), 'Upload-Metadata': `filename ${base64(file.name)}` },
    signal,
  });
  const { pathname } = new URL(response.headers.get('Location') ?? '', location.href);
  return pathname;
}

const offsetOf = (response: Response): number => Number(response.headers.get('Upload-Offset') ?? 0);

/** How far the upload came; null: the server does not know it (any more). */
async function ask(url: string, signal: AbortSignal): Promise<{ offset: number; video: string | null } | null> {
  try {
    return await requestJson(url, { headers: tus, signal });
  } catch (error) {
    if (error instanceof ApiError && [404, 410].includes(error.problem.status)) {
      return null;
    }
    throw error;
  }
}

/** Where the file's upload is and how far it came; a new one, when there is none. */
async function open(file: File, signal: AbortSignal): Promise<{ url: string; offset: number; video: string | null }> {
  const key = keyOf(file);
  const before = kept().find((entry) => entry.key === key);
  if (before) {
    const known = await ask(before.url, signal);
    if (known) {
      return { url: before.url, ...known };
    }
    forget(key);
  }
  const url = await begin(file, signal);
  keep((list) => [...list, { key, name: file.name, size: file.size, url, by: owner }]);
  return { url, offset: 0, video: null };
}

/** Sends all that is left; the answer is where the video is. Throws at the first thing that fails. */
async function sendRest(file: File, signal: AbortSignal, onProgress: (sent: number) => void): Promise<string> {
  let { url, offset, video } = await open(file, signal);
  let piece = firstPiece;
  onProgress(offset);
  while (video === null) {
    const response = await request(url, {
      method: 'PATCH',
      headers: { ...tus, 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream' },
      body: file.slice(offset, offset + piece),
      signal,
    });
    offset = offsetOf(response);
    onProgress(offset);
    piece = Math.min(piece * 2, largestPiece);
    video = offset >= file.size ? new URL(response.headers.get('Location') ?? url, location.href).pathname : null;
  }
  return video;
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = window.setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      window.clearTimeout(timer);
      resolve();
    });
  });

async function run(key: string, onDone: () => void): Promise<void> {
  const file = files.get(key) as File;
  const stop = new AbortController();
  stops.set(key, stop);
  let best = -1;
  for (let tries = 0; ; tries++) {
    try {
      put(key, { state: 'sending', problem: null });
      const video = await sendRest(file, stop.signal, (sent) => {
        if (sent > best) {
          best = sent;
          tries = 0;
        }
        put(key, { sent, state: 'sending' });
      });
      forget(key);
      files.delete(key);
      put(key, { state: 'done', sent: file.size, video });
      onDone();
      return;
    } catch (error) {
      if (stop.signal.aborted) {
        return;
      }
      if (!(error instanceof ApiError)) {
        throw error;
      }
      const { problem } = error;
      if (problem.status === 401) { // the door comes; behind it the upload waits
        put(key, { state: 'paused', problem });
        afterSignIn.set(key, () => void run(key, onDone));
        return;
      }
      if (!isPassing(problem)) {
        forget(key);
        put(key, { state: 'failed', problem });
        return;
      }
      if (tries >= mostTries) {
        put(key, { state: 'paused', problem });
        return;
      }
      put(key, { state: 'waiting', problem });
      await pause(backoffMs * 2 ** tries, stop.signal);
      if (stop.signal.aborted) {
        return;
      }
    }
  }
}

/** Sends files; those of which a part is there already go on. onDone is called after each. */
export function upload(list: Iterable<File>, onDone: () => void): void {
  for (const file of list) {
    const key = keyOf(file);
    const going = uploads.get().find((entry) => entry.key === key);
    if (going && ['sending', 'waiting'].includes(going.state)) {
      continue;
    }
    const fresh: Upload = {
      key, name: file.name, size: file.size, sent: 0, state: 'sending', problem: null, video: null,
    };
    files.set(key, file);
    uploads.set([...uploads.get().filter((entry) => entry.key !== key), fresh]);
    void run(key, onDone);
  }
}

export function resume(key: string, onDone: () => void): void {
  if (files.has(key)) {
    afterSignIn.delete(key);
    void run(key, onDone);
  }
}

/** Takes it from the list; one that is not done is given up on the server, too. */
export function dismiss(key: string): void {
  stops.get(key)?.abort();
  stops.delete(key);
  files.delete(key);
  afterSignIn.delete(key);
  const url = kept().find((entry) => entry.key === key)?.url;
  forget(key);
  uploads.set(uploads.get().filter((entry) => entry.key !== key));
  if (url) {
    request(url, { method: 'DELETE', headers: tus }).catch(() => {
      // It expires by itself.
    });
  }
}

me.watch((who) => {
  if (who) {
    owner = who.name ?? '';
    keep((list) => list); // another's are dropped
  }
});

entered.watch(() => {
  const waiting = [...afterSignIn.values()];
  afterSignIn.clear();
  for (const goOn of waiting) {
    goOn();
  }
});

/** Leaves nothing in this browser of what was uploaded. */
export function forgetUploads(): void {
  for (const stop of stops.values()) {
    stop.abort();
  }
  keep(() => []);
}

/** Lists what an earlier page has left unfinished. */
export function recall(): void {
  const known = new Set(uploads.get().map(({ key }) => key));
  const lost = kept()
    .filter(({ key }) => !known.has(key))
    .map(({ key, name, size }): Upload => ({
      key, name, size, sent: 0, state: 'lost', problem: null, video: null,
    }));
  if (lost.length > 0) {
    uploads.set([...uploads.get(), ...lost]);
  }
}
