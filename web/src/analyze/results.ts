// What was found, in words: the summary, a chip a class, a row a detection.

import type { Detection } from '../api/inference.ts';
import { classColor } from './color.ts';
import { byId, create, setProperty } from '../dom.ts';
import {
  countClasses,
  countsInWords,
  visible,
  visibleKeys,
  type AppStore,
  type ClassCount,
  type State,
} from './state.ts';

function swatch(classId: number): HTMLElement {
  const element = create('span', { className: 'swatch' });
  setProperty(element, '--class-color', classColor(classId));
  return element;
}

function summary(state: Readonly<State>): string {
  if (state.problem) {
    return 'No result.';
  }
  if (!state.result) {
    return state.picture ? 'Looking…' : 'Nothing looked at yet.';
  }
  const shown = visible(state);
  if (shown.length > 0) {
    return countsInWords(countClasses(shown));
  }
  return visible({ ...state, hidden: new Set() }).length > 0
    ? 'Every class that was found is hidden.'
    : 'Nothing found. A lower confidence may show more.';
}

function setUpChips(store: AppStore): void {
  const chips = byId('chips');

  const toggle = (id: number): void => {
    const hidden = new Set(store.get().hidden);
    if (!hidden.delete(id)) {
      hidden.add(id);
    }
    store.set({ hidden, marked: null });
  };

  const chip = ({ id, name, count }: ClassCount, isShown: boolean): HTMLElement => {
    const number = create('span', { className: 'chip-count' }, String(count));
    const button = create('button', { type: 'button', className: 'chip' }, swatch(id), name, ' ', number);
    button.dataset['classId'] = String(id);
    button.setAttribute('aria-pressed', String(isShown));
    button.addEventListener('click', () => toggle(id));
    return button;
  };

  store.watch(visibleKeys, (state) => {
    const focused = (document.activeElement as HTMLElement | null)?.dataset['classId'];
    const shownAtConfidence = visible({ ...state, hidden: new Set() });
    const counts = countClasses(shownAtConfidence);
    chips.hidden = counts.length === 0;
    chips.replaceChildren(...counts.map((entry) => chip(entry, !state.hidden.has(entry.id))));
    // The chip that was clicked is a new element now; the focus stays on it.
    chips.querySelector<HTMLElement>(`[data-class-id="${focused ?? ''}"]`)?.focus();
  });
}

function tableRow(detection: Detection): HTMLTableRowElement {
  const { x1, y1, x2, y2 } = detection.box;
  const box = [x1, y1, x2, y2].map((value) => Math.round(value)).join(', ');
  const meter = create('span', { className: 'meter' });
  setProperty(meter, '--filled', `${detection.confidence * 100}%`);
  const confidence = create('span', { className: 'number' }, detection.confidence.toFixed(3));
  return create(
    'tr',
    { tabIndex: -1 },
    create('td', {}, create('span', { className: 'class-cell' }, swatch(detection.class_id), detection.class_name)),
    create('td', {}, create('span', { className: 'confidence-cell' }, confidence, meter)),
    create('td', { className: 'number box-cell' }, box),
  );
}

function setUpTable(store: AppStore): void {
  const scroll = byId('detections-scroll');
  const body = byId('detections').querySelector('tbody') as HTMLTableSectionElement;
  let shown: Detection[] = [];

  const rows = (): HTMLCollectionOf<HTMLTableRowElement> => body.rows;
  const detectionOf = (target: EventTarget | null): Detection | null => {
    const row = (target as Element | null)?.closest('tr');
    return (row && shown[row.sectionRowIndex]) ?? null;
  };

  store.watch(visibleKeys, (state) => {
    shown = visible(state);
    scroll.hidden = shown.length === 0;
    body.replaceChildren(...shown.map(tableRow));
    if (rows()[0]) {
      rows()[0]!.tabIndex = 0;
    }
  });
  store.watch(['marked'], ({ marked }) => {
    const index = marked ? shown.indexOf(marked) : -1;
    for (const [i, row] of [...rows()].entries()) {
      row.classList.toggle('marked', i === index);
    }
  });

  // One row is a tab stop; arrow keys move it.
  const step: Record<string, (at: number, last: number) => number> = {
    ArrowDown: (at, last) => Math.min(at + 1, last),
    ArrowUp: (at) => Math.max(at - 1, 0),
    Home: () => 0,
    End: (_at, last) => last,
  };
  body.addEventListener('keydown', (event) => {
    const row = (event.target as Element).closest('tr');
    const move = step[event.key];
    if (!row || !move) {
      return;
    }
    event.preventDefault();
    const next = rows()[move(row.sectionRowIndex, rows().length - 1)];
    row.tabIndex = -1;
    if (next) {
      next.tabIndex = 0;
      next.focus();
    }
  });
  body.addEventListener('focusin', (event) => store.set({ marked: detectionOf(event.target) }));
  body.addEventListener('focusout', () => store.set({ marked: null }));
  body.addEventListener('pointerover', (event) => store.set({ marked: detectionOf(event.target) }));
  body.addEventListener('pointerleave', () => store.set({ marked: null }));
}

export function setUpResults(store: AppStore): void {
  store.watch([...visibleKeys, 'problem', 'picture'], (state) => {
    byId('summary').textContent = summary(state);
    byId('count').textContent = String(visible(state).length);
    byId('count').hidden = !state.result;
  });
  setUpChips(store);
  setUpTable(store);
}
