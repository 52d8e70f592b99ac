// A faster version of a model: begun, followed, compared with what it was made of.

import { useEffect, useRef, useState } from 'preact/hooks';
import {
  endOptimization,
  getOptimization,
  optimizeModel,
  precisions,
  type KnownOptimization,
  type Optimization,
  type OptimizationReport,
  type Precision,
} from '../api/models.ts';
import { listVideos } from '../api/videos.ts';
import { bytes, milliseconds } from '../format.ts';
import { Dialog } from '../ui/dialog.tsx';
import { SelectField } from '../ui/field.tsx';
import { useAction, useEvery, useLoad } from '../ui/load.ts';
import { Meter } from '../ui/meter.tsx';
import { Loaded, ProblemLine } from '../ui/page.tsx';
import { TableCard } from '../ui/table.tsx';

const everyMs = 1500;

const precisionWords: Record<Precision, string> = {
  float32: 'float32: head cut and size free, the same results',
  int8: 'int8: 8-bit integers, for CPUs',
  float16: 'float16: for GPUs',
};

function Progress({ now, busy, onEnd }: { now: KnownOptimization; busy: boolean; onEnd: () => void }) {
  const { stage, done, total } = now;
  const steps = total ? `${done ?? 0} of ${total}` : '';
  return (
    <>
      <p role="status">
        {[stage ?? 'It begins', steps].filter(Boolean).join(', ')}…
      </p>
      {total ? <Meter share={(done ?? 0) / total} label={`Progress: ${stage ?? ''}`} /> : null}
      <p class="help">It goes on when you leave this page. Requests come first.</p>
      <div class="dialog-actions">
        <button class="button danger" type="button" disabled={busy} onClick={onEnd}>
          End it
        </button>
      </div>
    </>
  );
}

const ap = (value: number | undefined): string => (value === undefined ? '–' : value.toFixed(4));

function Comparison({ report }: { report: OptimizationReport }) {
  const first = report.speed[0];
  const rows = report.speed.map(({ model, width, height, run_ms: run, two_at_once_per_second: two }, index) => ({
    key: index,
    model: model === 'original' ? 'original' : 'optimised',
    size: bytes(model === 'original' ? report.size_before : report.size_after),
    input: `${height}×${width}`,
    run: `${milliseconds(run)}${index > 0 && first ? ` (${(first.run_ms / run).toFixed(2)} times as fast)` : ''}`,
    two: two.toFixed(1),
    ap: index < 2 ? ap((index === 0 ? report.before : report.after)?.ap) : ap(report.after_own_aspect?.ap),
  }));
  return (
    <TableCard label="Both models compared">
      <thead>
        <tr>
          <th scope="col">Model</th>
          <th scope="col" class="end">Size</th>
          <th scope="col" class="end">Input</th>
          <th scope="col" class="end">One run</th>
          <th scope="col" class="end">Two at once, a second</th>
          <th scope="col" class="end">AP50-95</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.key}>
            <th scope="row">{row.model}</th>
            <td class="number end">{row.size}</td>
            <td class="number end">{row.input}</td>
            <td class="number end">{row.run}</td>
            <td class="number end">{row.two}</td>
            <td class="number end">{row.ap}</td>
          </tr>
        ))}
      </tbody>
    </TableCard>
  );
}

function Result({ last }: { last: KnownOptimization }) {
  const { state, error, installed_version: version, report, model } = last;
  return (
    <div class="optimized">
      {state === 'succeeded' && (
        <p role="status">
          <strong>{`${model} ${version ?? ''}`}</strong> is there, made of version {last.version} as {last.precision}. It
          serves when you let it.
        </p>
      )}
      {state !== 'succeeded' && <p class="problem-line">{error}</p>}
      {report && report.speed.length > 0 && <Comparison report={report} />}
      {report && report.judged > 0 && (
        <p class="help">
          Judged on {report.judged} pictures against what the original finds: 1 is the same, and whatever differs counts
          as a loss.
        </p>
      )}
    </div>
  );
}

function Form({ model, onBegun }: { model: string; onBegun: (now: Optimization) => void }) {
  const [precision, setPrecision] = useState<Precision>('float32');
  const [video, setVideo] = useState('');
  const videos = useLoad(async (signal) => (await listVideos(null, signal)).items, []);
  const action = useAction();
  return (
    <form
      class="form"
      onSubmit={(event) => {
        event.preventDefault();
        void action.run(async () =>
          onBegun(await optimizeModel(model, { precision, ...(video !== '' && { video_id: video }) })),
        );
      }}
    >
      <SelectField
        label="As"
        value={precision}
        options={precisions.map((name) => [name, precisionWords[name]] as const)}
        onChange={setPrecision}
      />
      <SelectField
        label="Pictures of the video"
        value={video}
        options={[
          ['', precision === 'int8' ? 'choose' : 'none: nothing is judged'],
          ...(videos.value ?? []).map(({ id, name }) => [id, name] as const),
        ]}
        onChange={setVideo}
      />
      <p class="help">
        It should show what the model is to see. Its frames judge the new version, and calibrate one of 8-bit integers.
        {videos.value?.length === 0 && (
          <>
            {' '}
            There is none yet: <a href="/videos">upload one</a>.
          </>
        )}
      </p>
      <ProblemLine problem={action.problem ?? videos.problem} />
      <div class="dialog-actions">
        <button
          class="button primary"
          type="submit"
          disabled={action.busy || (precision === 'int8' && video === '')}
        >
          Optimise
        </button>
      </div>
    </form>
  );
}

export function OptimizeDialog({ model, onChange, onClose }: { model: string; onChange: () => void; onClose: () => void }) {
  const load = useLoad((signal) => getOptimization(model, signal), [model]);
  const action = useAction();
  const state = load.value?.state;
  const before = useRef(state);
  useEvery(everyMs, () => state === 'running' && load.refresh());
  useEffect(() => {
    if (before.current === 'running' && state === 'succeeded') {
      onChange();
    }
    before.current = state;
  }, [state]);
  return (
    <Dialog title={`Optimise ${model}`} wide onClose={onClose}>
      <Loaded load={load}>
        {(now) => (
          <div class="dialog-body">
            {now.state === 'running' ? (
              <Progress
                now={now}
                busy={action.busy}
                onEnd={() => void action.run(async () => load.put(await endOptimization(model)))}
              />
            ) : (
              <>
                {now.state !== 'none' && <Result last={now} />}
                <Form model={model} onBegun={load.put} />
              </>
            )}
            <ProblemLine problem={action.problem} />
          </div>
        )}
      </Loaded>
    </Dialog>
  );
}
