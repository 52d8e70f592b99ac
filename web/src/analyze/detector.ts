// Asks the server for objects whenever the picture, the model or a threshold changes.

import { detectObjects } from '../api/inference.ts';
import { createAsker } from './newest.ts';
import type { AppStore, Picture } from './state.ts';

const debounceMs = 120;

export function setUpDetector(store: AppStore): { ask: () => void } {
  let lastPicture: Picture | null = null;
  let asked: Picture | null = null;

  const asker = createAsker({
    ask: (signal) => {
      const { confidence, iou, model } = store.get();
      return detectObjects((asked as Picture).file, { confidence, iou, model }, signal);
    },
    onAnswer: (result) => store.set({ busy: false, result, marked: null }),
    onProblem: (problem) => store.set({ busy: false, result: null, problem, marked: null }),
    onFault: () => store.set({ busy: false }),
  });

  function askSoon(delayMs: number): void {
    const { picture, mode } = store.get();
    asked = picture;
    asker.giveUp();
    if (picture && mode === 'detect') {
      store.set({ busy: true, problem: null });
      asker.askSoon(delayMs);
    }
  }

  store.watch(['mode', 'model', 'picture', 'confidence', 'iou'], ({ picture }) => {
    askSoon(picture === lastPicture ? debounceMs : 0);
    lastPicture = picture;
  });

  return { ask: () => askSoon(0) };
}
