// What to do with the picture, and with which model.

import { ApiError } from '../api/http.ts';
import { models } from '../api/inference.ts';
import { byId, create } from '../dom.ts';
import type { AppStore, Mode } from './state.ts';

export async function listModels(store: AppStore): Promise<void> {
  try {
    const detectors = (await models()).filter(({ kind }) => kind === 'detector');
    store.set({ models: detectors });
  } catch (error) {
    if (!(error instanceof ApiError)) {
      throw error;
    }
    // Without a list the default model is still there.
  }
}

export function setUpMode(store: AppStore): void {
  const choice = byId<HTMLSelectElement>('model');

  for (const radio of document.querySelectorAll<HTMLInputElement>('input[name=mode]')) {
    radio.addEventListener('change', () => store.set({ mode: radio.value as Mode, problem: null }));
  }
  store.watch(['mode'], ({ mode }) => {
    document.body.dataset['mode'] = mode;
    byId<HTMLInputElement>(`mode-${mode}`).checked = true;
  });

  choice.addEventListener('change', () => store.set({ model: choice.value }));
  choice.addEventListener('focus', () => void listModels(store)); // one may have been added
  store.watch(['models', 'model', 'mode'], ({ models: list, model, mode }) => {
    byId('model-choice').hidden = list.length < 2 || mode !== 'detect';
    const names = list.map(({ name }) => name);
    if (names.join() !== [...choice.options].map(({ value }) => value).join()) {
      choice.replaceChildren(...names.map((name) => create('option', { value: name }, name)));
    }
    choice.value = model || (list.find((entry) => entry.default)?.name ?? '');
  });
}
