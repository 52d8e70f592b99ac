// A value that parts of the page watch.

import { useEffect, useReducer } from 'preact/hooks';

export interface Observable<T> {
  get(): T;
  set(value: T): void;
  /** Calls listener at each change; the answer ends that. */
  watch(listener: (value: T) => void): () => void;
}

export function observable<T>(initial: T): Observable<T> {
  let current = initial;
  const listeners = new Set<(value: T) => void>();
  return {
    get: () => current,
    set(value) {
      if (!Object.is(value, current)) {
        current = value;
        for (const listener of [...listeners]) {
          listener(value);
        }
      }
    },
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The value, and the component drawn again when it changes. */
export function useObserved<T>(source: Observable<T>): T {
  const [, redraw] = useReducer<number, void>((count) => count + 1, 0);
  const seen = source.get();
  useEffect(() => {
    if (!Object.is(source.get(), seen)) {
      redraw(); // it changed between the drawing and now
    }
    return source.watch(() => redraw());
  }, [source]);
  return seen;
}
