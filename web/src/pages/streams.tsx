// The cameras that are watched, and how they do.

import { useState } from 'preact/hooks';
import { may } from '../api/accounts.ts';
import { listStreams, type Stream } from '../api/streams.ts';
import { useObserved } from '../observable.ts';
import { me as whoever } from '../shell/session.ts';
import { StreamCard } from '../streams/card.tsx';
import { StreamForm } from '../streams/form.tsx';
import { RemoveStream } from '../streams/remove.tsx';
import { Icon } from '../ui/icon.tsx';
import { useEvery, useList } from '../ui/load.ts';
import { Blank, LoadedList, Page } from '../ui/page.tsx';

const everyMs = 3000;

type Open = { kind: 'add' } | { kind: 'change' | 'remove'; stream: Stream } | null;

function sumOf(streams: readonly Stream[]): string {
  const live = streams.filter(({ state }) => state === 'live').length;
  return `${live} of ${streams.length} live`;
}

export function Streams() {
  const canChange = may(useObserved(whoever), 'operator');
  const list = useList<Stream>((cursor, signal) => listStreams(cursor, signal), []);
  const [open, setOpen] = useState<Open>(null);
  useEvery(everyMs, () => !list.busy && list.reload());
  const close = (): void => setOpen(null);
  const done = (): void => {
    close();
    list.reload();
  };
  return (
    <Page
      title="Streams"
      lead={list.value?.length ? `Cameras that are watched: ${sumOf(list.value)}.` : 'Cameras that are watched.'}
      actions={
        canChange && (
          <button class="button primary" type="button" onClick={() => setOpen({ kind: 'add' })}>
            <Icon name="plus" /> Add a camera
          </button>
        )
      }
    >
      <LoadedList
        list={list}
        empty={
          <Blank icon="streams" title="No cameras yet">
            {canChange ? 'Add one by its URL, above.' : 'Operators can add some.'}
          </Blank>
        }
      >
        {(items) => (
          <ul class="stream-grid">
            {items.map((stream) => (
              <StreamCard key={stream.id} stream={stream}>
                {canChange && (
                  <div class="row-actions">
                    <button
                      class="button small"
                      type="button"
                      aria-label={`Change ${stream.name}`}
                      onClick={() => setOpen({ kind: 'change', stream })}
                    >
                      Change
                    </button>
                    <button
                      class="button small"
                      type="button"
                      aria-label={`Remove ${stream.name}`}
                      onClick={() => setOpen({ kind: 'remove', stream })}
                    >
                      <Icon name="trash" />
                    </button>
                  </div>
                )}
              </StreamCard>
            ))}
          </ul>
        )}
      </LoadedList>
      {open?.kind === 'add' && <StreamForm stream={null} onDone={done} onClose={close} />}
      {open?.kind === 'change' && <StreamForm stream={open.stream} onDone={done} onClose={close} />}
      {open?.kind === 'remove' && <RemoveStream stream={open.stream} onDone={done} onClose={close} />}
    </Page>
  );
}
