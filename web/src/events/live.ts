// Events as they happen, above those that were asked for.

import { useEffect, useRef, useState } from 'preact/hooks';
import { followEvents, type EventFilter, type StreamEvent } from '../api/events.ts';

const most = 100;
const againMs = 5000;

/** Whether an event that happens now is one of those that are looked for. */
export const fits = (event: StreamEvent, filter: EventFilter): boolean =>
  (!filter.stream || event.stream.id === filter.stream) &&
  (!filter.kind || event.kind === filter.kind) &&
  (!filter.class || event.class_name === filter.class) &&
  (!filter.place || event.place === filter.place) &&
  (!filter.rule || event.rule === filter.rule) &&
  !filter.until;

/** The newest first. onOpen: what happened before is to be asked for (again). */
export function useLiveEvents(filter: EventFilter, onOpen: () => void): StreamEvent[] {
  const [events, setEvents] = useState<StreamEvent[]>([]);
  const [round, setRound] = useState(0);
  const latest = useRef({ filter, onOpen });
  latest.current = { filter, onOpen };
  const key = JSON.stringify(filter);
  useEffect(() => setEvents([]), [key]);
  useEffect(() => {
    let timer = 0;
    let first = round === 0;
    const end = followEvents(filter.stream || null, {
      onEvent: (event) => {
        if (fits(event, latest.current.filter)) {
          setEvents((before) => [event, ...before.filter(({ id }) => id !== event.id)].slice(0, most));
        }
      },
      onOpen: () => {
        if (!first) {
          latest.current.onOpen(); // there was a gap
        }
        first = false;
      },
      onGone: () => {
        timer = window.setTimeout(() => setRound((before) => before + 1), againMs);
      },
    });
    return () => {
      window.clearTimeout(timer);
      end();
    };
  }, [filter.stream, round]);
  return events;
}

/** Both, each event once. */
export function merged(live: readonly StreamEvent[], asked: readonly StreamEvent[]): StreamEvent[] {
  const known = new Set(asked.map(({ id }) => id));
  return [...live.filter(({ id }) => !known.has(id)), ...asked];
}
