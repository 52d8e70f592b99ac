// Several pictures at once: a few in each request, so that what is found shows as it comes.

import { h, render } from 'preact';
import { ApiError } from '../api/http.ts';
import { detectBatch, type BatchItem } from '../api/inference.ts';
import { byId } from '../dom.ts';
import type { AppStore } from './state.ts';
import { Tray } from './tray.tsx';

const mostFiles = 4; // in a request
const mostBytes = 16_000_000;
const debounceMs = 400; // a slider that moves

/** The next files to ask for: a few, and of large ones fewer. */
function nextFew(files: readonly File[]): File[] {
  const few: File[] = [];
  let size = 0;
  for (const file of files.slice(0, mostFiles)) {
    size += file.size;
    if (few.length > 0 && size > mostBytes) {
      break;
    }
    few.push(file);
  }
  return few;
}

export function setUpBatch(store: AppStore): void {
  let current: AbortController | null = null;
  let timer = 0;
  let known: readonly File[] = [];

  const put = (files: readonly File[], items: (at: number) => BatchItem | null): void => {
    const batch = store.get().batch.map((entry) => {
      const at = files.indexOf(entry.file);
      return at < 0 ? entry : { ...entry, item: items(at) };
    });
    store.set({ batch });
  };

  async function askAll(): Promise<void> {
    const mine = new AbortController();
    current = mine;
    const { confidence, iou, model, batch } = store.get();
    let files = batch.map(({ file }) => file);
    put(files, () => null);
    while (files.length > 0 && !mine.signal.aborted) {
      const few = nextFew(files);
      files = files.slice(few.length);
      try {
        const items = await detectBatch(few, { confidence, iou, model }, mine.signal);
        put(few, (at) => items[at] ?? null);
      } catch (error) {
        if (mine.signal.aborted) {
          return;
        }
        if (!(error instanceof ApiError)) {
          throw error;
        }
        const { problem } = error;
        put(few, (index) => ({ index, status: 'error', error: problem }));
      }
    }
  }

  store.watch(['files', 'mode', 'model', 'confidence', 'iou'], ({ files, mode }) => {
    current?.abort();
    window.clearTimeout(timer);
    const isNew = files !== known;
    known = files;
    if (isNew) {
      store.set({ batch: files.length > 1 ? files.map((file) => ({ file, item: null })) : [] });
    }
    if (files.length > 1 && mode === 'detect') {
      timer = window.setTimeout(() => void askAll(), isNew ? 0 : debounceMs);
    }
  });
  store.watch(['batch', 'picture'], ({ batch }) => {
    const tray = byId('tray');
    tray.hidden = batch.length === 0;
    render(batch.length === 0 ? null : h(Tray, { store }), tray);
  });
}
