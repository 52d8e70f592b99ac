// Throughput, latency, queue and hit rate, as they are and over the last minutes. The browser reads
// /metrics and remembers; the server keeps no history.

import { useEffect, useMemo } from 'preact/hooks';
import { ApiError, bodyOf, request, type Problem } from '../api/http.ts';
import { milliseconds } from '../format.ts';
import { observable, useObserved } from '../observable.ts';
import { Chart } from '../ui/chart.tsx';
import { useEvery } from '../ui/load.ts';
import { Loading, ProblemBox } from '../ui/page.tsx';
import { momentOf, parse, type Moment, type Sample } from './metrics.ts';

const everyMs = 3000;
const mostMoments = 300; // a quarter of an hour

interface Reading {
  at: number;
  samples: Sample[];
}

let last: Reading | null = null;
const moments = observable<readonly Moment[]>([]);
const problem = observable<Problem | null>(null);

async function read(): Promise<void> {
  try {
    const text = await bodyOf(await request('/metrics'), (answer) => answer.text());
    const now: Reading = { at: Date.now() / 1000, samples: parse(text) };
    const moment = last && momentOf(last.samples, now.samples, now.at - last.at, now.at);
    last = now;
    problem.set(null);
    if (moment) {
      moments.set([...moments.get(), moment].slice(-mostMoments));
    }
  } catch (error) {
    if (!(error instanceof ApiError)) {
      throw error;
    }
    problem.set(error.problem);
  }
}

const hour = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const clockText = (at: number): string => hour.format(at * 1000);
const rate = (value: number): string => value.toFixed(value < 10 ? 1 : 0);
const time = (seconds: number | null): string => (seconds === null ? '–' : milliseconds(seconds * 1000));
const percent = (share: number | null): string => (share === null ? '–' : `${Math.round(100 * share)} %`);

function Tiles({ now }: { now: Moment }) {
  const tiles: [string, string][] = [
    ['Requests a second', rate(now.requests)],
    ['Pictures a second', rate(now.pictures)],
    ['Latency, 95 of 100', time(now.p95)],
    ['Waiting in the queue', String(now.queue)],
    ['Answered from the cache', percent(now.hitRate)],
  ];
  return (
    <dl class="tiles">
      {tiles.map(([name, value]) => (
        <div class="tile" key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

const teal = '#14a394';
const amber = '#d99433';
const blue = '#4c8fd6';

function Charts({ list }: { list: readonly Moment[] }) {
  const x = useMemo(() => list.map(({ at }) => at), [list]);
  const of = (pick: (moment: Moment) => number | null): (number | null)[] => list.map(pick);
  const throughput = useMemo(
    () => [
      { name: 'requests/s', color: blue, values: of(({ requests }) => requests) },
      { name: 'pictures/s', color: teal, values: of(({ pictures }) => pictures) },
    ],
    [list],
  );
  const latency = useMemo(
    () => [
      { name: '95 of 100', color: amber, values: of(({ p95 }) => (p95 === null ? null : p95 * 1000)) },
      { name: 'half', color: teal, values: of(({ p50 }) => (p50 === null ? null : p50 * 1000)) },
    ],
    [list],
  );
  return (
    <div class="columns">
      <section class="card" aria-labelledby="throughput-title">
        <h2 id="throughput-title">Throughput</h2>
        <Chart label="Requests and pictures a second over the last minutes" x={x} series={throughput} xText={clockText} />
      </section>
      <section class="card" aria-labelledby="latency-title">
        <h2 id="latency-title">Latency of inference, in ms</h2>
        <Chart label="Latency of inference requests over the last minutes" x={x} series={latency} xText={clockText} />
      </section>
    </div>
  );
}

export function Live() {
  const list = useObserved(moments);
  const wrong = useObserved(problem);
  useEffect(() => {
    void read();
  }, []);
  useEvery(everyMs, () => void read());
  const now = list.at(-1);
  if (wrong?.status === 403) {
    return <p class="card help">Throughput and latency are for those who may read the metrics; your role may not.</p>;
  }
  if (wrong) {
    return <ProblemBox problem={wrong} retry={() => void read()} />;
  }
  if (!now) {
    return <Loading what="Measuring" />;
  }
  return (
    <>
      <Tiles now={now} />
      <Charts list={list} />
    </>
  );
}
