// The picture on the stage, with the canvas over it.

import { byId, setProperty } from './dom.ts';
import { detectionAt, drawScene } from './draw.ts';
import { countClasses, countsInWords, visible, visibleKeys, type AppStore } from './state.ts';

export function setUpView(store: AppStore): void {
  const image = byId<HTMLImageElement>('picture');
  const canvas = byId<HTMLCanvasElement>('overlay');
  const frame = byId('frame');
  const context = canvas.getContext('2d');
  if (!context) {
    throw new Error('this browser has no 2D canvas');
  }

  const redraw = (): void => {
    const { width, height } = frame.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const state = store.get();
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
  store.watch([...visibleKeys, 'marked'], redraw);
  store.watch(visibleKeys, (state) => {
    const counts = countsInWords(countClasses(visible(state)));
    canvas.setAttribute('aria-label', counts ? `Marked: ${counts}` : 'No objects marked');
  });
  new ResizeObserver(redraw).observe(frame);

  canvas.addEventListener('pointermove', (event) => {
    const state = store.get();
    if (!state.result) {
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
