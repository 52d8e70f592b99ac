import { ago, dateTime } from '../format.ts';

/** How long ago, with the exact time for the pointer; null: a dash. */
export function Time({ at }: { at: string | null }) {
  if (at === null) {
    return <span class="soft">–</span>;
  }
  return (
    <time dateTime={at} title={dateTime(at)}>
      {ago(at)}
    </time>
  );
}
