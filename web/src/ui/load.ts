// What a page shows of the server's: asked for when the page comes, and again when asked to.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, type ListPage, type Problem } from '../api/http.ts';
import { entered, me } from '../shell/session.ts';
import { useObserved } from '../observable.ts';

export interface Load<T> {
  value: T | null; // the last that came
  problem: Problem | null; // of the last question
  busy: boolean;
  reload: () => void;
  /** For timers: asks again, unless a question is still under way. */
  refresh: () => void;
  /** Shows another value until the next one comes: the answer to a change, mostly. */
  put: (value: T) => void;
}

interface Answer<T> {
  value: T | null;
  problem: Problem | null;
  busy: boolean;
}

const patienceMs = 60_000; // then a question counts as lost

/** Runs ask now and whenever one of keys changes; a newer question drops the older one's answer. */
export function useLoad<T>(ask: (signal: AbortSignal) => Promise<T>, keys: readonly unknown[]): Load<T> {
  const [answer, setAnswer] = useState<Answer<T>>({ value: null, problem: null, busy: true });
  const [round, setRound] = useState(0);
  const epoch = useObserved(entered); // who has signed in again asks again
  const latest = useRef(ask);
  latest.current = ask;
  const askedAt = useRef<number | null>(null); // the question that is under way

  useEffect(() => setAnswer({ value: null, problem: null, busy: true }), keys);
  useEffect(() => {
    const mine = new AbortController();
    setAnswer((before) => ({ ...before, busy: true }));
    askedAt.current = performance.now();
    latest.current(mine.signal).then(
      (value) => {
        if (!mine.signal.aborted) {
          askedAt.current = null;
          setAnswer({ value, problem: null, busy: false });
        }
      },
      (error: unknown) => {
        if (mine.signal.aborted) {
          return;
        }
        askedAt.current = null;
        if (!(error instanceof ApiError)) {
          throw error;
        }
        setAnswer((before) => ({ ...before, problem: error.problem, busy: false }));
      },
    );
    return () => mine.abort();
  }, [...keys, round, epoch]);

  return {
    ...answer,
    reload: useCallback(() => setRound((before) => before + 1), []),
    refresh: useCallback(() => {
      if (askedAt.current === null || performance.now() - askedAt.current > patienceMs) {
        setRound((before) => before + 1);
      }
    }, []),
    put: useCallback((value: T) => setAnswer({ value, problem: null, busy: false }), []),
  };
}

export interface List<T> extends Load<T[]> {
  more: boolean; // there is
  loadMore: () => void;
}

/** A list that comes in pages. After a reload it has as many pages as before. */
export function useList<T>(
  ask: (cursor: string | null, signal: AbortSignal) => Promise<ListPage<T>>,
  keys: readonly unknown[],
): List<T> {
  const [pages, setPages] = useState(1);
  const cursor = useRef<string | null>(null);
  useEffect(() => setPages(1), keys);
  const load = useLoad<T[]>(async (signal) => {
    const items: T[] = [];
    let next: string | null = null;
    for (let page = 0; page < pages; page++) {
      const answer: ListPage<T> = await ask(next, signal);
      items.push(...answer.items);
      next = answer.next_cursor;
      if (next === null) {
        break;
      }
    }
    cursor.current = next;
    return items;
  }, keys);
  const { reload } = load;
  useEffect(() => {
    if (pages > 1) {
      reload();
    }
  }, [pages]);
  return {
    ...load,
    more: load.value !== null && cursor.current !== null,
    loadMore: useCallback(() => setPages((before) => before + 1), []),
  };
}

/** Calls tick every so often while the page is looked at, and not behind the door. */
export function useEvery(ms: number, tick: () => void): void {
  const latest = useRef(tick);
  latest.current = tick;
  useEffect(() => {
    const timer = window.setInterval(() => {
      if (document.visibilityState === 'visible' && me.get() !== null) {
        latest.current();
      }
    }, ms);
    return () => window.clearInterval(timer);
  }, [ms]);
}

/** A change that a person asked for: one at a time, with what went wrong with it. */
export function useAction(): {
  busy: boolean;
  problem: Problem | null;
  run: (work: () => Promise<void>) => Promise<boolean>; // true: it is done
  clear: () => void;
} {
  const [state, setState] = useState<{ busy: boolean; problem: Problem | null }>({ busy: false, problem: null });
  const run = useCallback(async (work: () => Promise<void>) => {
    setState({ busy: true, problem: null });
    try {
      await work();
      setState({ busy: false, problem: null });
      return true;
    } catch (error) {
      setState({ busy: false, problem: error instanceof ApiError ? error.problem : null });
      if (!(error instanceof ApiError)) {
        throw error;
      }
      return false;
    }
  }, []);
  return { ...state, run, clear: useCallback(() => setState({ busy: false, problem: null }), []) };
}
