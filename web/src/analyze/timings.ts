// Where the time went: one bar in parts, and the numbers.

import { stages, type Timings } from '../api/inference.ts';
import { byId, create, setProperty } from '../dom.ts';
import { milliseconds } from '../format.ts';
import type { AppStore } from './state.ts';

const names = {
  queue: 'Queue',
  decode: 'Decode',
  preprocess: 'Prepare',
  inference: 'Model',
  postprocess: 'Results',
} as const;

function show(timings: Timings): void {
  byId('timings-total').textContent = milliseconds(timings.total);
  byId('timing-bar').replaceChildren(
    ...stages.map((stage) => {
      const part = create('span', { className: `timing-part stage-${stage}` });
      setProperty(part, '--share', String(Math.max(timings[stage], 0)));
      return part;
    }),
  );
  byId('timing-list').replaceChildren(
    ...stages.map((stage) =>
      create(
        'div',
        { className: `stage-${stage}` },
        create('dt', {}, names[stage]),
        create('dd', { className: 'number' }, milliseconds(timings[stage])),
      ),
    ),
  );
}

export function setUpTimings(store: AppStore): void {
  store.watch(['mode', 'result', 'segmentTimings'], ({ mode, result, segmentTimings }) => {
    const timings = mode === 'segment' ? segmentTimings : result?.timings_ms;
    byId('timings').hidden = !timings;
    if (timings) {
      show(timings);
    }
  });
}
