// One job: how far it has come, live; then what it found, over the video and over time.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { classColor } from '../analyze/color.ts';
import { may } from '../api/accounts.ts';
import { ApiError, isPassing } from '../api/http.ts';
import {
  cancelJob,
  followJob,
  getJob,
  getSummary,
  hasEnded,
  retryJob,
  type Job,
  type Summary,
} from '../api/jobs.ts';
import { getVideo, type Line, type Zone } from '../api/videos.ts';
import { bytes, clock, count } from '../format.ts';
import { Webhooks } from '../jobs/webhooks.tsx';
import { useObserved } from '../observable.ts';
import { entered, me as whoever } from '../shell/session.ts';
import { JobBadge } from '../ui/badge.tsx';
import { Chart } from '../ui/chart.tsx';
import { Icon } from '../ui/icon.tsx';
import { useAction, useLoad, type Load } from '../ui/load.ts';
import { Meter } from '../ui/meter.tsx';
import { Loaded, Page, ProblemLine } from '../ui/page.tsx';
import { TableCard } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';
import { notify } from '../ui/toast.tsx';
import { noFrames, readOn, timelineOf, type FrameStore } from '../video/frames.ts';
import { Player } from '../video/player.tsx';

/** The job, kept up to date while it waits and runs. */
function useLiveJob(id: string): Load<Job> {
  const load = useLoad((signal) => getJob(id, signal), [id]);
  const latest = useRef(load);
  latest.current = load;
  const live = load.value !== null && !hasEnded(load.value.state);
  const inside = useObserved(whoever) !== null;
  useEffect(() => {
    if (!live || !inside) {
      return undefined;
    }
    return followJob(
      id,
      ({ state, progress, error }) => {
        const { value, put, reload } = latest.current;
        if (hasEnded(state)) {
          reload(); // for its results. It may be running again: all that happened to it is told
        } else if (value) {
          put({ ...value, state, progress: progress ?? value.progress, error });
        }
      },
      () => latest.current.refresh(), // it may have ended; or nobody is signed in, and the door comes
    );
  }, [id, live, inside]);
  return load;
}

const breathMs = 400; // of a fast job not every step is asked for
const retryMs = 1000; // after a broken connection; then twice as long each time
const longestRetryMs = 30_000;

/** What it saw, as far as it is known. */
function useFrames(job: Job | null): FrameStore {
  const [store, setStore] = useState(noFrames);
  const latest = useRef(store);
  latest.current = store;
  const url = job?.frames ?? null;
  const done = job?.progress?.frames_done ?? 0;
  const ended = job !== null && hasEnded(job.state);
  const epoch = useObserved(entered);
  useEffect(() => {
    if (!url) {
      return undefined;
    }
    const stop = new AbortController();
    let pause = retryMs;
    const read = (): void => {
      readOn(url, latest.current, stop.signal).then(
        (next) => stop.signal.aborted || setStore(next),
        (error: unknown) => {
          if (stop.signal.aborted) {
            return;
          }
          if (!(error instanceof ApiError)) {
            throw error;
          }
          if (isPassing(error.problem)) { // what else the server refuses shows as no frames
            timer = window.setTimeout(read, pause);
            pause = Math.min(2 * pause, longestRetryMs);
          }
        },
      );
    };
    let timer = window.setTimeout(read, done > 0 && !ended ? breathMs : 0);
    return () => {
      window.clearTimeout(timer);
      stop.abort();
    };
  }, [url, ended, epoch, Math.floor(done / 100)]); // the server adds a hundred at a time
  return store;
}

function State({ job }: { job: Job }) {
  const { state, progress, error, attempts } = job;
  const total = progress?.frames_total ?? null;
  const parts = progress && [
    total && !hasEnded(state) ? `${count(progress.frames_done)} of ${count(total)} frames` : `${count(progress.frames_done)} frames`,
    progress.fps !== null && !hasEnded(state) && `${progress.fps.toFixed(1)} frames/s`,
    progress.eta_s !== null && !hasEnded(state) && `about ${clock(progress.eta_s)} left`,
  ];
  return (
    <section class="card job-state" aria-labelledby="state-title">
      <h2 id="state-title" class="sr-only">
        State
      </h2>
      <p role="status">
        <JobBadge state={state} /> {job.cancel_requested && !hasEnded(state) && 'It was told to end. '}
        <span class="number">{parts ? parts.filter(Boolean).join(' · ') : state === 'queued' && 'Waits for its turn.'}</span>
      </p>
      {state === 'running' && progress && total !== null && (
        <Meter share={progress.frames_done / total} label="Progress" />
      )}
      {error && <p class="problem-line">{error}</p>}
      {attempts > 1 && <p class="help">Tried {attempts} times.</p>}
    </section>
  );
}

function Timeline({ store, onPick }: { store: FrameStore; onPick: (time: number) => void }) {
  const timeline = useMemo(() => timelineOf(store.frames), [store]);
  const series = useMemo(
    () => timeline.classes.map(({ id, name, counts }) => ({ name, color: classColor(id), values: counts })),
    [timeline],
  );
  if (series.length === 0) {
    return (
      <section class="card" aria-labelledby="timeline-title">
        <h2 id="timeline-title">Over time</h2>
        <p class="help">{store.frames.length > 0 ? 'Nothing was seen.' : 'Nothing to show yet.'}</p>
      </section>
    );
  }
  const most = timeline.classes.map(({ name, counts }) => `${name} ${Math.max(...counts)}`).join(', ');
  return (
    <section class="card" aria-labelledby="timeline-title">
      <h2 id="timeline-title">Over time</h2>
      <Chart
        label={`How many there were over time; most at once: ${most}`}
        x={timeline.times}
        series={series}
        steps
        xText={clock}
        onPick={onPick}
      />
      {store.cut && <p class="help">Only the beginning: there is more than a browser should hold.</p>}
    </section>
  );
}

const seconds = (value: number | null): string => (value === null ? '–' : `${value.toFixed(1)} s`);

function Counts({ summary }: { summary: Summary }) {
  if (summary.classes.length === 0) {
    return <p class="card">Nothing was seen.</p>;
  }
  return (
    <>
      <TableCard label="What was seen">
        <thead>
          <tr>
            <th scope="col">Class</th>
            <th scope="col" class="end">Tracks</th>
            <th scope="col" class="end">Most at once</th>
            <th scope="col" class="end">Boxes</th>
          </tr>
        </thead>
        <tbody>
          {summary.classes.map((row) => (
            <tr key={row.class_id}>
              <th scope="row">{row.class_name}</th>
              <td class="number end">{count(row.tracks)}</td>
              <td class="number end">{count(row.most_at_once)}</td>
              <td class="number end">{count(row.objects)}</td>
            </tr>
          ))}
        </tbody>
      </TableCard>
      {summary.lines.length > 0 && (
        <TableCard label="Lines crossed">
          <thead>
            <tr>
              <th scope="col">Line</th>
              <th scope="col">Class</th>
              <th scope="col" class="end">In</th>
              <th scope="col" class="end">Out</th>
            </tr>
          </thead>
          <tbody>
            {summary.lines.map((row) => (
              <tr key={`${row.name}/${row.class_name}`}>
                <th scope="row">{row.name}</th>
                <td>{row.class_name}</td>
                <td class="number end">{row.in}</td>
                <td class="number end">{row.out}</td>
              </tr>
            ))}
          </tbody>
        </TableCard>
      )}
      {summary.zones.length > 0 && (
        <TableCard label="Zones entered">
          <thead>
            <tr>
              <th scope="col">Zone</th>
              <th scope="col">Class</th>
              <th scope="col" class="end">Entries</th>
              <th scope="col" class="end">Most inside</th>
              <th scope="col" class="end">Stay</th>
            </tr>
          </thead>
          <tbody>
            {summary.zones.map((row) => (
              <tr key={`${row.name}/${row.class_name}`}>
                <th scope="row">{row.name}</th>
                <td>{row.class_name}</td>
                <td class="number end">{row.entries}</td>
                <td class="number end">{row.most_inside}</td>
                <td class="number end">{seconds(row.dwell_mean)}</td>
              </tr>
            ))}
          </tbody>
        </TableCard>
      )}
    </>
  );
}

function Results({ job }: { job: Job }) {
  return (
    <section class="card" aria-labelledby="results-title">
      <h2 id="results-title">Results</h2>
      <ul class="plain-list">
        {job.results.map(({ name, url, size_bytes }) => (
          <li key={name}>
            <a class="grow" href={url} download={name}>
              {name}
            </a>
            <span class="soft number">{bytes(size_bytes)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Body({ job }: { job: Job }) {
  const store = useFrames(job);
  const [seek, setSeek] = useState<{ to: number } | null>(null);
  const video = useLoad(async (signal) => (job.video_id ? getVideo(job.video_id, signal) : 'removed'), [job.video_id]);
  const summaryUrl = job.results.find(({ name }) => name === 'summary.json')?.url;
  const summary = useLoad(async (signal) => (summaryUrl ? getSummary(summaryUrl, signal) : null), [summaryUrl]);
  const zones = (job.options['zones'] ?? []) as Zone[];
  const lines = (job.options['lines'] ?? []) as Line[];
  return (
    <>
      <State job={job} />
      <Loaded load={video} what="Loading the video">
        {(value) =>
          value === 'removed' ? (
            <p class="help">Its video was removed.</p>
          ) : (
            <Player video={value} seek={seek} frames={store.frames} zones={zones} lines={lines} />
          )
        }
      </Loaded>
      <Timeline store={store} onPick={(to) => setSeek({ to })} />
      <div class="columns">
        {summary.value && <Counts summary={summary.value} />}
        {job.results.length > 0 && <Results job={job} />}
        {job.webhook_url && <Webhooks job={job} />}
        <section class="card" aria-labelledby="how-title">
          <h2 id="how-title">How it is done</h2>
          <dl class="facts">
            <dt>Submitted</dt>
            <dd>
              <Time at={job.created_at} />
            </dd>
            <dt>Started</dt>
            <dd>
              <Time at={job.started_at} />
            </dd>
            <dt>Ended</dt>
            <dd>
              <Time at={job.finished_at} />
            </dd>
          </dl>
          <details>
            <summary>Options</summary>
            <pre class="mono" tabIndex={0}>
              {JSON.stringify(job.options, null, 1)}
            </pre>
          </details>
        </section>
      </div>
    </>
  );
}

export function JobPage({ id }: { id: string }) {
  const canChange = may(useObserved(whoever), 'operator');
  const load = useLiveJob(id);
  const action = useAction();
  const job = load.value;

  const change = (work: (id: string) => Promise<Job>, words: string): void => {
    void action.run(async () => {
      load.put(await work(id));
      notify(words);
    });
  };
  return (
    <Page
      title={`Job ${id.slice(-12)}`}
      back={{ href: '/jobs', text: 'Jobs' }}
      actions={
        canChange &&
        job && (
          <>
            {!hasEnded(job.state) && (
              <button
                class="button danger"
                type="button"
                disabled={action.busy || job.cancel_requested}
                onClick={() => change(cancelJob, 'The job is told to end.')}
              >
                Cancel
              </button>
            )}
            {['failed', 'dead', 'cancelled'].includes(job.state) && (
              <button
                class="button primary"
                type="button"
                disabled={action.busy}
                onClick={() => change(retryJob, 'The job is in the queue again.')}
              >
                <Icon name="refresh" /> Try again
              </button>
            )}
          </>
        )
      }
    >
      <ProblemLine problem={action.problem} />
      <Loaded load={load}>{(value) => <Body job={value} />}</Loaded>
    </Page>
  );
}
