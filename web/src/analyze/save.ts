// The result to keep: the picture as the server draws it, and the JSON.

import { ApiError } from '../api/http.ts';
import { annotatedPicture } from '../api/inference.ts';
import { byId, create } from '../dom.ts';
import { cutOut } from './mask.ts';
import { countClasses, visible, visibleKeys, type AppStore, type State } from './state.ts';

function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  create('a', { href: url, download: name }).click();
  window.setTimeout(() => URL.revokeObjectURL(url), 60_000); // some browsers read it late
}

export function saveJson(value: unknown, name: string): void {
  save(new Blob([JSON.stringify(value, null, 2), '\n'], { type: 'application/json' }), name);
}

const stem = (name: string): string => name.replace(/\.[^.]*$/, '') || 'picture';

/** Both files hold what is on the screen: hidden classes are left out. */
function shownOptions(state: Readonly<State>) {
  const { confidence, iou, model } = state;
  if (state.hidden.size === 0) {
    return { confidence, iou, model };
  }
  return { confidence, iou, model, classes: countClasses(visible(state)).map(({ id }) => id) };
}

function setUpSaveCut(store: AppStore): void {
  const button = byId<HTMLButtonElement>('save-cut');
  button.addEventListener('click', () => {
    const { picture, masks } = store.get();
    if (picture && masks[0]) {
      void cutOut(byId<HTMLImageElement>('picture'), masks[0].mask).then((blob) =>
        save(blob, `${stem(picture.name)}-cut.png`),
      );
    }
  });
  store.watch(['mode', 'masks'], ({ mode, masks }) => {
    button.hidden = mode !== 'segment';
    button.disabled = masks.length === 0;
  });
}

export function setUpSave(store: AppStore): void {
  setUpSaveCut(store);
  const savePicture = byId<HTMLButtonElement>('save-picture');
  const saveResult = byId<HTMLButtonElement>('save-json');

  saveResult.addEventListener('click', () => {
    const state = store.get();
    if (state.result && state.picture) {
      saveJson({ ...state.result, detections: visible(state) }, `${stem(state.picture.name)}.json`);
    }
  });

  savePicture.addEventListener('click', () => {
    const state = store.get();
    if (!state.picture) {
      return;
    }
    const { picture } = state;
    savePicture.disabled = true;
    annotatedPicture(picture.file, shownOptions(state))
      .then((blob) => save(blob, `${stem(picture.name)}-detections.jpg`))
      .catch((error: unknown) => {
        if (!(error instanceof ApiError)) {
          throw error;
        }
        store.set({ problem: error.problem });
      })
      .finally(() => {
        savePicture.disabled = false;
      });
  });

  store.watch([...visibleKeys, 'mode'], (state) => {
    // With every class hidden there is no filter that says "none" to the server.
    const allHidden = state.hidden.size > 0 && visible(state).length === 0;
    savePicture.hidden = saveResult.hidden = state.result === null || state.mode !== 'detect';
    saveResult.disabled = state.result === null;
    savePicture.disabled = state.result === null || allHidden;
  });
}
