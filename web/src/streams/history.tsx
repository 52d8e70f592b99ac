// How many there were over the last minutes.

import { useEffect, useMemo, useState } from 'preact/hooks';
import { classColor } from '../analyze/color.ts';
import { Chart } from '../ui/chart.tsx';
import type { History, Recent } from './seen.ts';

const everyMs = 1000;
const hour = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const clockText = (at: number): string => hour.format(at * 1000);

export function HistoryChart({ history }: { history: History }) {
  const [recent, setRecent] = useState<Recent>(() => history.read());
  useEffect(() => {
    const timer = window.setInterval(() => setRecent(history.read()), everyMs);
    return () => window.clearInterval(timer);
  }, [history]);
  const series = useMemo(
    () => recent.classes.map(({ id, name, counts }) => ({ name, color: classColor(id), values: counts })),
    [recent],
  );
  const now = recent.classes
    .map(({ name, counts }) => [counts.at(-1) ?? 0, name] as const)
    .filter(([count]) => count > 0)
    .map(([count, name]) => `${count} ${name}`)
    .join(', ');
  return (
    <section class="card" aria-labelledby="history-title">
      <div class="card-head">
        <h2 id="history-title">In the picture</h2>
        <span class="number" id="seen-now">
          {now || 'nothing now'}
        </span>
      </div>
      {series.length === 0 ? (
        <p class="help">Nothing was seen since the page is open.</p>
      ) : (
        <Chart label={`How many there were at once, by class, over the last minutes; now ${now || 'nothing'}`} x={recent.times} series={series} steps xText={clockText} height={150} />
      )}
    </section>
  );
}
