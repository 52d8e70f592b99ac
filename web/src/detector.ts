// Asks the server whenever the picture or a threshold changes; only the newest question counts.

import { ApiError, detectObjects } from './api.ts';
import type { AppStore, Picture } from './state.ts';

const debounceMs = 120;

export function setUpDetector(store: AppStore): { ask: () => void } {
  let current: AbortController | null = null; // of the question whose answer is waited for
  let timer = 0;
  let lastPicture: Picture | null = null;

  async function ask(picture: Picture): Promise<void> {
    const { confidence, iou } = store.get();
    const mine = new AbortController();
    current = mine;
    try {
      const result = await detectObjects(picture.file, { confidence, iou }, mine.signal);
      if (mine === current) {
        store.set({ busy: false, result, marked: null });
      }
    } catch (error) {
      if (mine !== current) {
        return; // given up for a newer question
      }
      if (!(error instanceof ApiError)) {
        store.set({ busy: false });
        throw error;
      }
      store.set({ busy: false, result: null, problem: error.problem, marked: null });
    }
  }

  /** Gives up what was asked before at once, so that no late answer shows. */
  function askSoon(delayMs: number): void {
    const { picture } = store.get();
    window.clearTimeout(timer);
    current?.abort();
    current = null;
    if (picture) {
      store.set({ busy: true, problem: null });
      timer = window.setTimeout(() => void ask(picture), delayMs);
    }
  }

  store.watch(['picture', 'confidence', 'iou'], ({ picture }) => {
    askSoon(picture === lastPicture ? debounceMs : 0);
    lastPicture = picture;
  });

  return { ask: () => askSoon(0) };
}
