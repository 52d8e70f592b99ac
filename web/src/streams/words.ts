// How streams do, in words.

import type { Stream, StreamCounts } from '../api/streams.ts';
import { milliseconds } from '../format.ts';

/** "9.8 fps · 41 ms" */
export function paceOf({ status, state }: Stream): string {
  if (!status || state === 'stopped') {
    return '';
  }
  const parts = [`${status.fps.toFixed(1)} fps`];
  if (status.latency_ms.p50 > 0) {
    parts.push(milliseconds(status.latency_ms.p50));
  }
  return parts.join(' · ');
}

/** "gate 3 in, 1 out", "door 2 inside" */
export const countWords = (counts: StreamCounts | null): string[] => [
  ...(counts?.lines ?? []).map((line) => `${line.name} ${line.in} in, ${line.out} out`),
  ...(counts?.zones ?? []).map((zone) => `${zone.name} ${zone.inside} inside`),
];

export const sourceWords = ({ status }: Stream): string => {
  const source = status?.source;
  return source ? `${source.width}×${source.height} ${source.codec}` : '';
};
