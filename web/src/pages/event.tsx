// One event: its picture and clip, and who was told of it.

import { useRef, useState } from 'preact/hooks';
import { may } from '../api/accounts.ts';
import { getEvent, kindWords, listDeliveries, removeEvent, type Delivery, type StreamEvent } from '../api/events.ts';
import { detailRows, titleOf } from '../events/words.ts';
import { dateTime } from '../format.ts';
import { useObserved } from '../observable.ts';
import { go } from '../router.ts';
import { me as whoever } from '../shell/session.ts';
import { Badge, type Tone } from '../ui/badge.tsx';
import { Confirm } from '../ui/dialog.tsx';
import { Icon } from '../ui/icon.tsx';
import { useAction, useEvery, useLoad } from '../ui/load.ts';
import { Blank, Loaded, Page } from '../ui/page.tsx';
import { TableCard } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';
import { notify } from '../ui/toast.tsx';

const everyMs = 2000;
const clipComesMs = 120_000; // so long a clip may still come

const isYoung = ({ created_at: at }: StreamEvent): boolean => Date.now() - Date.parse(at) < clipComesMs;

function Clip({ event, clip }: { event: StreamEvent; clip: string }) {
  const video = useRef<HTMLVideoElement>(null);
  const [wrong, setWrong] = useState(false);
  const offset = event.clip_offset ?? null;
  return (
    <section class="card" aria-labelledby="clip-title">
      <div class="card-head">
        <h2 id="clip-title">Clip</h2>
        <div class="actions">
          {offset !== null && (
            <button
              class="button small"
              type="button"
              onClick={() => {
                const element = video.current as HTMLVideoElement;
                element.currentTime = offset;
              }}
            >
              At the event
            </button>
          )}
          <a class="button small" href={clip} download={`event-${event.number}.mp4`}>
            <Icon name="download" /> Download
          </a>
        </div>
      </div>
      <video
        ref={video}
        class="event-video"
        src={clip}
        controls
        muted
        playsInline
        preload="auto"
        poster={event.snapshot ?? ''}
        aria-label="Clip of the event"
        onError={() => setWrong(true)}
      />
      {wrong && (
        <p class="help" role="status">
          This browser can’t play it. It can be downloaded all the same.
        </p>
      )}
    </section>
  );
}

function Pictures({ event }: { event: StreamEvent }) {
  return (
    <div class="stack">
      {event.snapshot && (
        <section class="card" aria-labelledby="snapshot-title">
          <h2 id="snapshot-title">Picture</h2>
          <img class="event-snapshot" src={event.snapshot} alt={`${titleOf(event)}, ${event.stream.name}`} />
        </section>
      )}
      {event.clip && <Clip event={event} clip={event.clip} />}
      {!event.clip && isYoung(event) && <p class="help">Its clip may still come.</p>}
      {!event.snapshot && !event.clip && (
        <Blank icon="events" title="There is no picture of it">
          The camera had none then.
        </Blank>
      )}
    </div>
  );
}

function Facts({ event }: { event: StreamEvent }) {
  return (
    <section class="card" aria-labelledby="facts-title">
      <h2 id="facts-title">About it</h2>
      <dl class="facts">
        <dt>When</dt>
        <dd>{dateTime(event.at)}</dd>
        <dt>Stream</dt>
        <dd>
          <a href={`/streams/${event.stream.id}`}>{event.stream.name}</a>
        </dd>
        <dt>Kind</dt>
        <dd>
          <a href={`/events?stream=${event.stream.id}&kind=${event.kind}`}>{kindWords[event.kind]}</a>
        </dd>
        <dt>Rule</dt>
        <dd>{event.rule}</dd>
        {event.class_name && (
          <>
            <dt>Class</dt>
            <dd>{event.class_name}</dd>
          </>
        )}
        {event.place && (
          <>
            <dt>Zone or line</dt>
            <dd>
              <a href={`/events?stream=${event.stream.id}&place=${encodeURIComponent(event.place)}`}>{event.place}</a>
            </dd>
          </>
        )}
        {detailRows(event).map(([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </>
        ))}
        <dt>Number</dt>
        <dd class="number">{event.number}</dd>
      </dl>
    </section>
  );
}

const tones: Record<Delivery['state'], Tone> = { pending: 'busy', delivered: 'good', failed: 'bad' };

function Deliveries({ id }: { id: string }) {
  const load = useLoad((signal) => listDeliveries(id, signal), [id]);
  useEvery(everyMs, () => load.value?.items.some(({ state }) => state === 'pending') && load.reload());
  return (
    <Loaded load={load} what="Asking who was told">
      {({ items }) =>
        items.length === 0 ? (
          <p class="card help">Nobody was to be told of it.</p>
        ) : (
          <TableCard label="Who was told">
            <thead>
              <tr>
                <th scope="col">Told</th>
                <th scope="col">State</th>
                <th scope="col" class="end">
                  Attempts
                </th>
                <th scope="col">Last answer</th>
                <th scope="col">When</th>
              </tr>
            </thead>
            <tbody>
              {items.map((delivery) => {
                const last = delivery.log.at(-1);
                return (
                  <tr key={delivery.id}>
                    <th scope="row" class="mono value-cell">
                      {delivery.url}
                    </th>
                    <td>
                      <Badge tone={tones[delivery.state]}>{delivery.state}</Badge>
                    </td>
                    <td class="number end">{delivery.attempts}</td>
                    <td class="value-cell">{last ? (last.error ?? `${last.status ?? 'taken'}`) : '–'}</td>
                    <td>
                      <Time at={last?.at ?? delivery.created_at} />
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </TableCard>
        )
      }
    </Loaded>
  );
}

export function EventPage({ id }: { id: string }) {
  const me = useObserved(whoever);
  const load = useLoad((signal) => getEvent(id, signal), [id]);
  const [removing, setRemoving] = useState(false);
  const action = useAction();
  const event = load.value;
  useEvery(everyMs, () => event && !event.clip && isYoung(event) && !load.busy && load.reload());
  return (
    <Page
      title={event ? titleOf(event) : 'Event'}
      lead={event && `${event.stream.name}, ${dateTime(event.at)}`}
      back={{ href: '/events', text: 'Events' }}
      actions={
        event &&
        may(me, 'operator') && (
          <button class="button" type="button" onClick={() => setRemoving(true)}>
            <Icon name="trash" /> Remove
          </button>
        )
      }
    >
      <Loaded load={load}>
        {(value) => (
          <>
            <div class="stream-live">
              <Pictures event={value} />
              <Facts event={value} />
            </div>
            {may(me, 'admin') && <Deliveries id={value.id} />}
          </>
        )}
      </Loaded>
      {removing && event && (
        <Confirm
          title="Remove the event?"
          yes="Remove"
          busy={action.busy}
          problem={action.problem}
          onYes={() =>
            void action.run(async () => {
              await removeEvent(event.id);
              notify('The event is removed.');
              go('/events');
            })
          }
          onClose={() => setRemoving(false)}
        >
          <p>Its picture and clip go with it, and who was not told yet is not told any more.</p>
        </Confirm>
      )}
    </Page>
  );
}
