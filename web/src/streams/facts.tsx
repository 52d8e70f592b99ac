// How a stream is watched and how it does, in full.

import type { Stream } from '../api/streams.ts';
import { count, milliseconds } from '../format.ts';
import { Time } from '../ui/time.tsx';
import { classList } from './classes.tsx';
import { sourceWords } from './words.ts';

function rowsOf(stream: Stream): [string, string][] {
  const { options, status } = stream;
  const rows: [string, string][] = [['URL', stream.url]];
  if (status) {
    const dropped = Object.entries(status.frames_dropped).filter(([, frames]) => frames > 0);
    rows.push(
      ['Camera', sourceWords(stream) || '–'],
      ['Model', status.model ? `${status.model.name} ${status.model.version}` : '–'],
      ['Results', `${status.fps.toFixed(1)} a second`],
      ['Latency', `${milliseconds(status.latency_ms.p50)}, of 5 in 100 over ${milliseconds(status.latency_ms.p95)}`],
      ['Frames', `${count(status.frames_received)} came, ${count(status.frames_processed)} were looked at`],
      ['Dropped', dropped.map(([why, frames]) => `${count(frames)} ${why.replaceAll('_', ' ')}`).join(', ') || 'none'],
      ['Connections lost', count(status.reconnects)],
    );
  }
  const classes = classList(options.classes);
  const how = [
    options.fps && `at most ${options.fps} fps`,
    options.drop !== undefined && `drop ${options.drop}`,
    options.transport !== undefined && options.transport !== 'auto' && options.transport,
    options.motion_gate && 'motion gate',
    options.track === false && 'no tracks',
  ].filter(Boolean);
  rows.push(['Classes', classes.length > 0 ? classes.join(', ') : 'all'], ['How', how.join(', ') || 'as usual']);
  if (options.schedule?.length) {
    rows.push([
      'Schedule',
      options.schedule.map(({ days, from, to }) => `${days?.join(', ') ?? 'every day'} ${from ?? '00:00'}–${to ?? '00:00'}`).join('; '),
    ]);
  }
  if (stream.host) {
    rows.push(['Run by', `${stream.host}${stream.here ? ', which answers here' : ''}`]);
  }
  return rows;
}

export function StreamFacts({ stream }: { stream: Stream }) {
  return (
    <section class="card" aria-labelledby="facts-title">
      <h2 id="facts-title">About it</h2>
      <dl class="facts">
        {rowsOf(stream).map(([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </>
        ))}
        <dt>Added</dt>
        <dd>
          <Time at={stream.created_at} /> {stream.created_by && `by ${stream.created_by}`}
        </dd>
      </dl>
    </section>
  );
}
