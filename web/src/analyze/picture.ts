// How pictures get in: chosen, dropped or pasted. The first one of several is shown.

import { byId } from '../dom.ts';
import { bytes } from '../format.ts';
import type { AppStore } from './state.ts';

const mostFiles = 500;

export function setUpPicture(store: AppStore): void {
  const stage = byId('stage');
  const choose = byId<HTMLInputElement>('choose');

  const show = (file: File): void => {
    const previous = store.get().picture;
    store.set({
      picture: { file, name: file.name || 'picture', url: URL.createObjectURL(file) },
      result: null,
      problem: null,
      hidden: new Set(),
      marked: null,
      prompts: [],
      masks: [],
      segmentTimings: null,
    });
    if (previous) {
      URL.revokeObjectURL(previous.url);
    }
  };

  const take = (list: FileList | null | undefined): void => {
    const files = [...(list ?? [])].slice(0, mostFiles);
    if (files[0]) {
      store.set({ files });
      show(files[0]);
    }
  };
  store.watch(['wanted'], ({ wanted }) => {
    if (wanted) {
      store.set({ wanted: null });
      show(wanted);
    }
  });

  const isShown = (): boolean => !byId('analyze').hidden;
  choose.addEventListener('change', () => {
    take(choose.files);
    choose.value = ''; // so that the same file can be chosen again
  });
  document.addEventListener('paste', (event) => {
    if (isShown()) {
      take(event.clipboardData?.files);
    }
  });

  // The whole page takes drops: a file that misses the target must not replace the page.
  let depth = 0; // dragenter and dragleave come for every element on the way
  const over = (change: number): void => {
    depth = Math.max(0, depth + change);
    stage.classList.toggle('dragging', depth > 0);
  };
  const hasFiles = (event: DragEvent): boolean => !!event.dataTransfer?.types.includes('Files');
  document.addEventListener('dragenter', (event) => over(hasFiles(event) ? 1 : 0));
  document.addEventListener('dragleave', () => over(-1));
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    over(-depth);
    if (isShown()) {
      take(event.dataTransfer?.files);
    }
  });

  store.watch(['picture'], ({ picture }) => {
    stage.dataset['state'] = picture ? 'picture' : 'empty';
    byId('file').hidden = !picture;
    byId('hint').hidden = picture !== null;
    byId('choose-label').textContent = picture ? 'Other pictures' : 'Choose pictures';
    if (picture) {
      byId('file-name').textContent = picture.name;
      byId('file-size').textContent = bytes(picture.file.size);
    }
  });
}
