// One stream as the page follows it: how it does, what is seen in it, and what happened.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { followStream, getStream, type Stream, type StreamFrame } from '../api/streams.ts';
import { observable, type Observable } from '../observable.ts';
import { useEvery, useLoad, type Load } from '../ui/load.ts';
import { History, Seen } from './seen.ts';
import { useVisible } from './visible.ts';

const everyMs = 2000;
const againMs = 3000;
const countsMs = 500; // a crossing is shown so soon

export interface Followed {
  load: Load<Stream>;
  seen: Seen;
  history: History;
  newest: Observable<StreamFrame | null>;
}

/** watched: what is seen in it is wanted too. */
export function useStream(id: string, watched: boolean): Followed {
  const load = useLoad((signal) => getStream(id, signal), [id]);
  const visible = useVisible();
  const [round, setRound] = useState(0);
  const kept = useMemo(
    () => ({ seen: new Seen(), history: new History(), newest: observable<StreamFrame | null>(null) }),
    [id],
  );
  const latest = useRef(load);
  latest.current = load;
  useEvery(everyMs, () => !latest.current.busy && latest.current.reload());

  const stream = load.value;
  const told = watched && stream !== null && stream.enabled && stream.state !== 'stopped';
  useEffect(() => {
    if (!told || !visible) {
      return undefined;
    }
    let timer = 0;
    let soon = 0;
    const end = followStream(id, {
      onFrame: (frame) => {
        kept.seen.add(frame);
        kept.history.add(frame.objects);
        kept.newest.set(frame);
        if (frame.events?.length && soon === 0) {
          soon = window.setTimeout(() => {
            soon = 0;
            latest.current.reload();
          }, countsMs);
        }
      },
      onState: ({ state, reason }) => {
        const { value, put } = latest.current;
        if (value) {
          put({ ...value, state, reason });
        }
      },
      onGone: () => {
        timer = window.setTimeout(() => setRound((before) => before + 1), againMs);
      },
    });
    return () => {
      window.clearTimeout(timer);
      window.clearTimeout(soon);
      end();
    };
  }, [id, told, visible, round]);
  return { load, ...kept };
}
