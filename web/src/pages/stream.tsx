// One camera: live, with what is seen in it; and where its zones, lines and rules are drawn.

import { useMemo, useState } from 'preact/hooks';
import { may } from '../api/accounts.ts';
import { anything, listEvents, type StreamEvent } from '../api/events.ts';
import { changeStream, type Stream } from '../api/streams.ts';
import { EventList } from '../events/list.tsx';
import { merged, useLiveEvents } from '../events/live.ts';
import { useObserved } from '../observable.ts';
import { go } from '../router.ts';
import { me as whoever } from '../shell/session.ts';
import { Counts } from '../streams/counts.tsx';
import { StreamEditor } from '../streams/editor.tsx';
import { StreamFacts } from '../streams/facts.tsx';
import { useStream, type Followed } from '../streams/follow.ts';
import { StreamForm } from '../streams/form.tsx';
import { HistoryChart } from '../streams/history.tsx';
import { LiveView } from '../streams/live_view.tsx';
import { RemoveStream } from '../streams/remove.tsx';
import { paceOf, sourceWords } from '../streams/words.ts';
import { StreamBadge } from '../ui/badge.tsx';
import { Icon } from '../ui/icon.tsx';
import { useAction, useList } from '../ui/load.ts';
import { Loaded, LoadedList, Page, ProblemLine } from '../ui/page.tsx';
import { notify } from '../ui/toast.tsx';

const shownEvents = 5;

function State({ stream }: { stream: Stream }) {
  const words = [stream.reason, paceOf(stream), sourceWords(stream)].filter(Boolean).join(' · ');
  return (
    <p class="stream-state">
      <StreamBadge state={stream.state} /> <span class="number">{words}</span>
    </p>
  );
}

function Recent({ stream }: { stream: Stream }) {
  const filter = useMemo(() => ({ ...anything, stream: stream.id }), [stream.id]);
  const list = useList<StreamEvent>((cursor, signal) => listEvents(filter, cursor, signal, shownEvents), [stream.id]);
  const live = useLiveEvents(filter, list.reload);
  return (
    <section class="card" aria-labelledby="recent-title">
      <div class="card-head">
        <h2 id="recent-title">Recent events</h2>
        <a href={`/events?stream=${stream.id}`}>All of them</a>
      </div>
      <LoadedList
        list={{ ...list, value: list.value && merged(live, list.value).slice(0, shownEvents), more: false }}
        empty={<p class="help">None yet. Rules make them.</p>}
      >
        {(items) => <EventList items={items} withStream={false} />}
      </LoadedList>
    </section>
  );
}

function Live({ followed, stream }: { followed: Followed; stream: Stream }) {
  return (
    <>
      <State stream={stream} />
      <div class="stream-live">
        <div class="stack">
          <LiveView stream={stream} seen={followed.seen} newest={followed.newest} />
          <HistoryChart history={followed.history} />
        </div>
        <div class="stack">
          <Counts counts={stream.counts} />
          <Recent stream={stream} />
          <StreamFacts stream={stream} />
        </div>
      </div>
    </>
  );
}

function Actions(props: { stream: Stream; followed: Followed; editing: boolean }) {
  const { stream, followed } = props;
  const [open, setOpen] = useState<'change' | 'remove' | null>(null);
  const action = useAction();
  const close = (): void => setOpen(null);
  const switched = (): void =>
    void action.run(async () => {
      followed.load.put(await changeStream(stream.id, { enabled: !stream.enabled }));
      notify(stream.enabled ? `${stream.name} is switched off.` : `${stream.name} is watched again.`);
    });
  return (
    <>
      <ProblemLine problem={action.problem} />
      <button class="button" type="button" disabled={action.busy} onClick={switched}>
        {stream.enabled ? 'Switch off' : 'Switch on'}
      </button>
      <a class="button" href={props.editing ? `/streams/${stream.id}` : `/streams/${stream.id}?edit`}>
        {props.editing ? 'Look at it' : 'Zones and rules'}
      </a>
      <button class="button" type="button" onClick={() => setOpen('change')}>
        Change
      </button>
      <button class="button" type="button" aria-label={`Remove ${stream.name}`} onClick={() => setOpen('remove')}>
        <Icon name="trash" />
      </button>
      {open === 'change' && (
        <StreamForm
          stream={stream}
          onDone={(changed) => {
            followed.load.put(changed);
            close();
          }}
          onClose={close}
        />
      )}
      {open === 'remove' && <RemoveStream stream={stream} onDone={() => go('/streams')} onClose={close} />}
    </>
  );
}

export function StreamPage({ id, editing }: { id: string; editing: boolean }) {
  const canChange = may(useObserved(whoever), 'operator');
  const edits = editing && canChange;
  const followed = useStream(id, !edits);
  const { value: stream, put } = followed.load;
  return (
    <Page
      title={stream?.name ?? 'Stream'}
      back={{ href: '/streams', text: 'Streams' }}
      actions={canChange && stream && <Actions stream={stream} followed={followed} editing={edits} />}
    >
      <Loaded load={followed.load}>
        {(value) =>
          edits ? <StreamEditor stream={value} onSaved={put} /> : <Live followed={followed} stream={value} />
        }
      </Loaded>
    </Page>
  );
}
