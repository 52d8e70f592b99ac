// The picture on the stage, with the canvas over it.

import { byId, setProperty } from '../dom.ts';
import { detectionAt, drawCut, drawScene, type CutScene } from './draw.ts';
import { paintMask } from './mask.ts';
import { setUpPrompts } from './prompts.ts';
import { countClasses, countsInWords, visible, visibleKeys, type AppStore } from './state.ts';

export function setUpView(store: AppStore): void {
  const image = byId<HTMLImageElement>('picture');
  const canvas = byId<HTMLCanvasElement>('overlay');
  const frame = byId('frame');
  const context = canvas.getContext('2d');
  if (!context) {
    throw new Error('this browser has no 2D canvas');
  }

  let masks: CanvasImageSource[] = [];
  let cross: CutScene['cross'] = null;
  let drag: CutScene['drag'] = null;

  const redraw = (): void => {
    const { width, height } = frame.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const state = store.get();
    if (state.mode === 'segment') {
      const scale = image.naturalWidth > 0 ? width / image.naturalWidth : 1;
      drawCut(context, { masks, prompts: state.prompts, drag, cross, scale, width, height });
      return;
    }
    const scale = state.result ? width / state.result.image.width : 1;
    drawScene(context, { detections: visible(state), marked: state.marked, scale, width, height });
  };

  const resize = (width: number, height: number): void => {
    setProperty(frame, '--ratio', String(width / height));
    setProperty(frame, '--natural-width', `${width}px`);
  };

  // Browsers count natural sizes of the upright picture (EXIF applied), as the server does.
  image.addEventListener('load', () => {
    frame.classList.remove('unreadable');
    resize(image.naturalWidth, image.naturalHeight);
  });
  image.addEventListener('error', () => {
    frame.classList.add('unreadable');
    resize(640, 360);
  });

  store.watch(['picture'], ({ picture }) => {
    if (picture) {
      image.src = picture.url;
    }
  });
  store.watch(['busy'], ({ busy }) => {
    byId('busy').hidden = !busy;
    byId('stage').setAttribute('aria-busy', String(busy));
  });
  store.watch(['masks'], (state) => {
    const line = Math.max(1, Math.round((1.5 * image.naturalWidth) / frame.clientWidth));
    masks = state.masks.slice(0, 1).map(({ mask }) => paintMask(mask, [47, 211, 191], line));
    redraw();
  });
  store.watch([...visibleKeys, 'marked', 'mode', 'prompts'], redraw);
  store.watch([...visibleKeys, 'mode'], (state) => {
    if (state.mode === 'segment') {
      return; // says how to point instead
    }
    const counts = countsInWords(countClasses(visible(state)));
    canvas.setAttribute('aria-label', counts ? `Marked: ${counts}` : 'No objects marked');
  });
  new ResizeObserver(redraw).observe(frame);

  setUpPrompts(store, {
    onCross: (at) => {
      cross = at;
      redraw();
    },
    onDrag: (box) => {
      drag = box;
      redraw();
    },
  });

  canvas.addEventListener('pointermove', (event) => {
    const state = store.get();
    if (!state.result || state.mode !== 'detect') {
      return;
    }
    const { left, top, width } = canvas.getBoundingClientRect();
    const scale = state.result.image.width / width;
    const x = (event.clientX - left) * scale;
    const y = (event.clientY - top) * scale;
    store.set({ marked: detectionAt(visible(state), x, y) });
  });
  canvas.addEventListener('pointerleave', () => store.set({ marked: null }));
}
