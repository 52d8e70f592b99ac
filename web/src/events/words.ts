// What an event says, in words.

import { kindWords, type StreamEvent } from '../api/events.ts';
import { clock } from '../format.ts';

/** "person, line crossed at gate" */
export function titleOf({ kind, class_name: what, place }: StreamEvent): string {
  return [what && `${what}, `, kindWords[kind], place && ` at ${place}`].filter(Boolean).join('');
}

/** What the kind has besides. */
export function detailRows({ details, track_id: track }: StreamEvent): [string, string][] {
  const rows: [string, string | undefined][] = [
    ['Direction', details.direction],
    ['Track', track === null ? undefined : `#${track}`],
    ['Confidence', details.confidence?.toFixed(2)],
    ['How many', details.count?.toString()],
    ['For', details.duration_s === undefined ? undefined : clock(details.duration_s)],
    ['Kept back before', details.silent ? `${details.silent}` : undefined],
  ];
  return rows.filter((row): row is [string, string] => row[1] !== undefined);
}
