// What the page knows, and what follows from it.

import type { Problem } from '../api/http.ts';
import type { BatchItem, Detection, ImageResult, Mask, Model, Prompt, Timings } from '../api/inference.ts';
import { createStore, type Store } from './store.ts';

export interface Picture {
  file: Blob;
  name: string;
  url: string; // blob: URL, revoked when the next picture comes
}

/** One of several pictures. */
export interface BatchEntry {
  file: File;
  item: BatchItem | null; // null: not looked at yet
}

export type Mode = 'detect' | 'segment';

export interface State {
  mode: Mode;
  models: readonly Model[]; // detectors that can be asked
  model: string; // the chosen one; '' is the server's default
  picture: Picture | null;
  files: readonly File[]; // that came last, together
  batch: readonly BatchEntry[]; // where they are several
  wanted: File | null; // of them, to be put on the stage
  confidence: number;
  iou: number;
  busy: boolean;
  result: ImageResult | null;
  problem: Problem | null;
  hidden: ReadonlySet<number>; // class ids
  marked: Detection | null; // the one that the pointer or the focus is on
  prompts: readonly Prompt[]; // what is to be cut out: points and at most one box
  masks: readonly Mask[];
  segmentTimings: Timings | null;
}

export type AppStore = Store<State>;

export const createAppStore = (): AppStore =>
  createStore<State>({
    mode: 'detect',
    models: [],
    model: '',
    picture: null,
    files: [],
    batch: [],
    wanted: null,
    confidence: 0.25,
    iou: 0.45,
    busy: false,
    result: null,
    problem: null,
    hidden: new Set(),
    marked: null,
    prompts: [],
    masks: [],
    segmentTimings: null,
  });

/** What `visible` depends on. */
export const visibleKeys = ['result', 'hidden', 'confidence'] as const;

/**
 * What to show. Filtering by confidence here as well lets the boxes follow a slider that is pulled
 * up at once; the server's answer then says the same.
 */
export function visible(state: Readonly<State>): Detection[] {
  return (state.result?.detections ?? []).filter(
    (detection) =>
      detection.confidence >= state.confidence && !state.hidden.has(detection.class_id),
  );
}

export interface ClassCount {
  id: number;
  name: string;
  count: number;
}

/** Classes in order of falling number, then name. */
export function countClasses(detections: readonly Detection[]): ClassCount[] {
  const counts = new Map<number, ClassCount>();
  for (const { class_id: id, class_name: name } of detections) {
    const entry = counts.get(id) ?? { id, name, count: 0 };
    entry.count += 1;
    counts.set(id, entry);
  }
  return [...counts.values()].sort((a, b) => b.count - a.count || a.name.localeCompare(b.name));
}

/** "4 person, 1 bus" */
export const countsInWords = (counts: readonly ClassCount[]): string =>
  counts.map(({ name, count }) => `${count} ${name}`).join(', ');
