// Asks the server whenever the picture or a threshold changes; only the newest question counts.

import { ApiError, detectObjects } from './api.ts';
import type { AppStore } from './state.ts';

const debounceMs = 120;

export function setUpDetector(store: AppStore): { ask: () => void } {
  let current: AbortController | null = null;
  let timer = 0;
  let askedFor: unknown = null;

  async function ask(): Promise<void> {
    window.clearTimeout(timer);
    current?.abort();
    const { picture, confidence, iou } = store.get();
    if (!picture) {
      return;
    }
    const mine = new AbortController();
    current = mine;
    store.set({ busy: true, problem: null });
    try {
      const result = await detectObjects(picture.file, { confidence, iou }, mine.signal);
      if (mine === current) {
        store.set({ busy: false, result, marked: null });
      }
    } catch (error) {
      if (mine !== current) {
        return; // a newer question is on its way
      }
      if (!(error instanceof ApiError)) {
        store.set({ busy: false });
        throw error;
      }
      store.set({ busy: false, result: null, problem: error.problem, marked: null });
    }
  }

  store.watch(['picture', 'confidence', 'iou'], ({ picture }) => {
    window.clearTimeout(timer);
    const isNew = picture !== askedFor;
    askedFor = picture;
    timer = window.setTimeout(() => void ask(), isNew ? 0 : debounceMs);
  });

  return { ask: () => void ask() };
}
