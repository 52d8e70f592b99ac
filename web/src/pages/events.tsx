// What happened before the cameras: looked for, and added to as it happens.

import { anything, listEvents, type EventFilter, type StreamEvent } from '../api/events.ts';
import { listStreams } from '../api/streams.ts';
import { Filters } from '../events/filters.tsx';
import { EventList } from '../events/list.tsx';
import { merged, useLiveEvents } from '../events/live.ts';
import { useClasses, useDetectors } from '../streams/classes.tsx';
import { useList, useLoad } from '../ui/load.ts';
import { Blank, LoadedList, Page } from '../ui/page.tsx';

const filterOf = (query: URLSearchParams): EventFilter =>
  Object.fromEntries(Object.keys(anything).map((key) => [key, query.get(key) ?? ''])) as unknown as EventFilter;

export function Events({ query }: { query: URLSearchParams }) {
  const filter = filterOf(query);
  const streams = useLoad((signal) => listStreams(null, signal, 200), []).value?.items ?? [];
  const chosen = streams.find(({ id }) => id === filter.stream);
  const classes = useClasses(useDetectors(), chosen?.options.model ?? '');
  const list = useList<StreamEvent>((cursor, signal) => listEvents(filter, cursor, signal), [query.toString()]);
  const live = useLiveEvents(filter, list.reload);
  const isAny = Object.values(filter).every((value) => value === '');
  return (
    <Page title="Events" lead="What the rules of the cameras waited for, the newest first, and live.">
      <Filters filter={filter} streams={streams} classes={classes} />
      <LoadedList
        list={{ ...list, value: list.value && merged(live, list.value) }}
        empty={
          <Blank icon="events" title={isAny ? 'No events yet' : 'No such event'}>
            {isAny ? (
              <>
                Rules make them: choose a camera under <a href="/streams">Streams</a>, and give it some.
              </>
            ) : (
              'Look for less, or over a longer time.'
            )}
          </Blank>
        }
      >
        {(items) => (
          <section class="card" aria-label="Events found">
            <EventList items={items} withStream />
          </section>
        )}
      </LoadedList>
      <p class="sr-only" role="status">
        {live.length > 0 && `${live.length} new`}
      </p>
    </Page>
  );
}
