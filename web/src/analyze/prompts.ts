// Pointing at what is to be cut out: a click is a point, a drag a box, and the keyboard does both
// of a point's kinds with a cross that the arrow keys move.

import type { BoxPrompt, Point, Prompt } from '../api/inference.ts';
import { byId, create } from '../dom.ts';
import type { AppStore, State } from './state.ts';

const dragPixels = 6; // on the screen: less is a click
const nudge = 0.02; // of the picture's longer side for an arrow key; five times that with Shift

/** Where the keyboard's cross is, in pixels of the picture; null while it is not used. */
export interface Cross {
  x: number;
  y: number;
}

function withPrompt(prompts: readonly Prompt[], added: Prompt): Prompt[] {
  return added.kind === 'box'
    ? [...prompts.filter(({ kind }) => kind !== 'box'), added] // a new box takes the old one's place
    : [...prompts, added];
}

function boxOf(a: Cross, b: Cross): BoxPrompt {
  return {
    kind: 'box',
    x1: Math.min(a.x, b.x),
    y1: Math.min(a.y, b.y),
    x2: Math.max(a.x, b.x),
    y2: Math.max(a.y, b.y),
  };
}

function describe(state: Readonly<State>): string {
  if (state.problem) {
    return 'No mask.';
  }
  if (state.prompts.length === 0) {
    return state.picture ? 'Click on something in the picture.' : 'Nothing to cut out of yet.';
  }
  const best = state.masks[0];
  if (!best) {
    return state.busy ? 'Looking…' : 'No mask.';
  }
  const share = (100 * best.area) / (best.mask.size[0] * best.mask.size[1]);
  return `${share.toFixed(1)} % of the picture, sure to ${Math.round(best.score * 100)} %.`;
}

const words = (prompt: Prompt): string =>
  prompt.kind === 'box'
    ? `Box ${[prompt.x1, prompt.y1, prompt.x2, prompt.y2].map(Math.round).join(', ')}`
    : `${prompt.label ? 'In' : 'Out'} ${Math.round(prompt.x)}, ${Math.round(prompt.y)}`;

function setUpList(store: AppStore): void {
  const list = byId('prompts');
  const undo = byId<HTMLButtonElement>('undo');
  const clear = byId<HTMLButtonElement>('clear');
  undo.addEventListener('click', () => store.set({ prompts: store.get().prompts.slice(0, -1) }));
  clear.addEventListener('click', () => store.set({ prompts: [] }));
  store.watch(['prompts'], ({ prompts }) => {
    list.replaceChildren(
      ...prompts.map((prompt) => {
        const item = create('li', {}, words(prompt));
        item.dataset['kind'] = prompt.kind === 'box' ? 'box' : prompt.label ? 'in' : 'out';
        return item;
      }),
    );
    list.hidden = prompts.length === 0;
    undo.disabled = clear.disabled = prompts.length === 0;
  });
  store.watch(['prompts', 'masks', 'problem', 'busy', 'picture'], (state) => {
    byId('cut-summary').textContent = describe(state);
  });
}

/** onCross is told where the cross is, onDrag which box is being drawn. */
export function setUpPrompts(
  store: AppStore,
  show: { onCross: (cross: Cross | null) => void; onDrag: (box: BoxPrompt | null) => void },
): void {
  const canvas = byId<HTMLCanvasElement>('overlay');
  const image = byId<HTMLImageElement>('picture');
  let start: { at: Cross; x: number; y: number } | null = null;
  let cross: Cross | null = null;

  const active = (): boolean => store.get().mode === 'segment' && image.naturalWidth > 0;
  const clamp = (value: number, limit: number): number => Math.max(0, Math.min(value, limit - 1));
  const place = (x: number, y: number): Cross => ({
    x: clamp(x, image.naturalWidth),
    y: clamp(y, image.naturalHeight),
  });
  const pointOf = (event: PointerEvent): Cross => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return place(
      ((event.clientX - left) * image.naturalWidth) / width,
      ((event.clientY - top) * image.naturalHeight) / height,
    );
  };
  /** Shift turns the chosen kind around. */
  const labelOf = (shift: boolean): Point['label'] =>
    byId<HTMLInputElement>('label-in').checked !== shift ? 1 : 0;
  const add = (prompt: Prompt): void =>
    store.set({ prompts: withPrompt(store.get().prompts, prompt) });

  canvas.addEventListener('pointerdown', (event) => {
    if (active() && event.button === 0) {
      start = { at: pointOf(event), x: event.clientX, y: event.clientY };
      canvas.setPointerCapture(event.pointerId);
    }
  });
  const dragged = (event: PointerEvent): boolean =>
    start !== null && Math.hypot(event.clientX - start.x, event.clientY - start.y) >= dragPixels;
  canvas.addEventListener('pointermove', (event) => {
    if (start) {
      show.onDrag(dragged(event) ? boxOf(start.at, pointOf(event)) : null);
    }
  });
  canvas.addEventListener('pointerup', (event) => {
    if (start) {
      const at = pointOf(event);
      add(
        dragged(event)
          ? boxOf(start.at, at)
          : { kind: 'point', ...start.at, label: labelOf(event.shiftKey) },
      );
    }
    start = null;
    show.onDrag(null);
  });
  canvas.addEventListener('pointercancel', () => {
    start = null;
    show.onDrag(null);
  });

  const moves: Record<string, readonly [number, number]> = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
  };
  const moveCross = (to: Cross | null): void => {
    cross = to;
    show.onCross(cross);
  };
  const onKey = (event: KeyboardEvent): boolean => {
    const move = moves[event.key];
    if (move) {
      const { x, y } = cross ?? { x: image.naturalWidth / 2, y: image.naturalHeight / 2 };
      const longer = Math.max(image.naturalWidth, image.naturalHeight);
      const step = nudge * longer * (event.shiftKey ? 5 : 1);
      moveCross(place(x + move[0] * step, y + move[1] * step));
    } else if (event.key === 'Enter' && cross) {
      add({ kind: 'point', ...cross, label: labelOf(event.shiftKey) });
    } else if (event.key === 'Backspace') {
      store.set({ prompts: store.get().prompts.slice(0, -1) });
    } else if (event.key === 'Escape') {
      store.set({ prompts: [] });
    } else {
      return false;
    }
    return true;
  };
  canvas.addEventListener('keydown', (event) => {
    if (active() && onKey(event)) {
      event.preventDefault();
    }
  });
  canvas.addEventListener('blur', () => moveCross(null));
  canvas.addEventListener('focus', () => {
    if (active() && canvas.matches(':focus-visible')) {
      moveCross(place(image.naturalWidth / 2, image.naturalHeight / 2));
    }
  });
  store.watch(['mode', 'picture'], ({ mode, picture }) => {
    canvas.tabIndex = mode === 'segment' && picture ? 0 : -1;
    canvas.setAttribute('role', mode === 'segment' ? 'application' : 'img');
    if (mode === 'segment') {
      canvas.setAttribute(
        'aria-label',
        'Picture to cut out of: arrow keys move a cross, Enter marks a point, Backspace takes the last one back',
      );
    }
  });
  setUpList(store);
}
