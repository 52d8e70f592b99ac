// On the overview: how the cameras do, and what happened last before them, live.

import { anything, listEvents, type StreamEvent } from '../api/events.ts';
import { listStreams, type Stream } from '../api/streams.ts';
import { merged, useLiveEvents } from '../events/live.ts';
import { titleOf } from '../events/words.ts';
import { StreamBadge } from '../ui/badge.tsx';
import { useEvery, useList } from '../ui/load.ts';
import { Blank, LoadedList } from '../ui/page.tsx';
import { Time } from '../ui/time.tsx';

const everyMs = 5000;
const shown = 6;

/** Those that do not do as they should come first. */
const inOrder = (streams: readonly Stream[]): Stream[] => {
  const rank = ({ state, enabled }: Stream): number => (!enabled ? 2 : state === 'live' ? 1 : 0);
  return [...streams].sort((a, b) => rank(a) - rank(b));
};

export function StreamsNow() {
  const list = useList<Stream>((cursor, signal) => listStreams(cursor, signal), []);
  useEvery(everyMs, () => !list.busy && list.reload());
  const live = list.value?.filter(({ state }) => state === 'live').length ?? 0;
  return (
    <section class="card" aria-labelledby="streams-title">
      <div class="card-head">
        <h2 id="streams-title">
          Streams {list.value && list.value.length > 0 && <span class="count">{`${live} of ${list.value.length}${list.more ? '+' : ''} live`}</span>}
        </h2>
        <a href="/streams">All streams</a>
      </div>
      <LoadedList
        list={{ ...list, more: false }}
        empty={
          <Blank icon="streams" title="No cameras yet">
            Cameras that are watched show here.
          </Blank>
        }
      >
        {(items) => (
          <ul class="plain-list">
            {inOrder(items)
              .slice(0, shown)
              .map((stream) => (
                <li key={stream.id}>
                  <StreamBadge state={stream.state} />
                  <a class="grow" href={`/streams/${stream.id}`}>
                    {stream.name}
                  </a>
                  <span class="number soft">
                    {stream.status && stream.state !== 'stopped' ? `${stream.status.fps.toFixed(1)} fps` : '–'}
                  </span>
                </li>
              ))}
          </ul>
        )}
      </LoadedList>
    </section>
  );
}

export function EventsNow() {
  const list = useList<StreamEvent>((cursor, signal) => listEvents({}, cursor, signal, shown), []);
  const live = useLiveEvents(anything, list.reload);
  return (
    <section class="card" aria-labelledby="events-title">
      <div class="card-head">
        <h2 id="events-title">Recent events</h2>
        <a href="/events">All events</a>
      </div>
      <LoadedList
        list={{ ...list, value: list.value && merged(live, list.value), more: false }}
        empty={
          <Blank icon="events" title="No events yet">
            What the rules of cameras wait for shows here.
          </Blank>
        }
      >
        {(items) => (
          <ul class="plain-list">
            {items.slice(0, shown).map((event) => (
              <li key={event.id}>
                <a class="grow" href={`/events/${event.id}`}>
                  {titleOf(event)}
                </a>
                <span class="soft">{event.stream.name}</span>
                <Time at={event.at} />
              </li>
            ))}
          </ul>
        )}
      </LoadedList>
    </section>
  );
}
