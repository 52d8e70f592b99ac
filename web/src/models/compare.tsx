// One picture, two models: what each finds, and how long it takes.

import { useEffect, useRef, useState } from 'preact/hooks';
import { drawScene } from '../analyze/draw.ts';
import { countClasses, countsInWords } from '../analyze/state.ts';
import { detectObjects, type ImageResult } from '../api/inference.ts';
import type { ModelInfo } from '../api/models.ts';
import { setProperty } from '../dom.ts';
import { milliseconds } from '../format.ts';
import { Dialog } from '../ui/dialog.tsx';
import { SelectField, useId } from '../ui/field.tsx';
import { useAction } from '../ui/load.ts';
import { ProblemLine } from '../ui/page.tsx';
import { prepare } from '../video/zone_draw.ts';

const confidence = 0.25;
const iou = 0.45;

/** NAME:VERSION of every detector's versions. */
function choices(models: readonly ModelInfo[]): (readonly [string, string])[] {
  return models
    .filter(({ kind }) => kind === 'detector')
    .flatMap(({ name, versions }) =>
      versions.map(({ version, serving }) => [`${name}:${version}`, `${name} ${version}${serving ? ' (serving)' : ''}`] as const),
    );
}

function Side({ url, result }: { url: string; result: ImageResult }) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const words = countsInWords(countClasses(result.detections)) || 'nothing';
  useEffect(() => {
    setProperty(frame.current as HTMLElement, '--ratio', String(result.image.width / result.image.height));
    const redraw = (): void => {
      const place = prepare(canvas.current as HTMLCanvasElement);
      if (place) {
        const { context, width, height } = place;
        drawScene(context, { detections: result.detections, marked: null, scale: width / result.image.width, width, height });
      }
    };
    const resized = new ResizeObserver(redraw);
    resized.observe(canvas.current as HTMLCanvasElement);
    return () => resized.disconnect();
  }, [result]);
  return (
    <figure class="compare-side">
      <div ref={frame} class="video-frame">
        <img src={url} alt="" />
        <canvas ref={canvas} class="video-overlay" role="img" aria-label={`${result.model} marked ${words}`} />
      </div>
      <figcaption>
        <strong>{result.model}</strong>: {words}
        <br />
        <span class="soft number">{`${milliseconds(result.timings_ms.inference)} in the model`}</span>
      </figcaption>
    </figure>
  );
}

export function Compare({ models, onClose }: { models: readonly ModelInfo[]; onClose: () => void }) {
  const id = useId();
  const options = choices(models);
  const [left, setLeft] = useState(options[0]?.[0] ?? '');
  const [right, setRight] = useState(options[1]?.[0] ?? options[0]?.[0] ?? '');
  const [file, setFile] = useState<File | null>(null);
  const [seen, setSeen] = useState<{ url: string; results: ImageResult[] } | null>(null);
  const action = useAction();
  useEffect(() => () => URL.revokeObjectURL(seen?.url ?? ''), [seen]);

  async function run(): Promise<void> {
    await action.run(async () => {
      const results: ImageResult[] = [];
      for (const model of [left, right]) { // one after the other: together they would slow each other down
        const { signal } = new AbortController();
        results.push({ ...(await detectObjects(file as File, { model, confidence, iou }, signal)), model });
      }
      setSeen({ url: URL.createObjectURL(file as File), results });
    });
  }
  return (
    <Dialog title="Compare two models" wide onClose={onClose}>
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
      >
        <SelectField label="One" value={left} options={options} onChange={setLeft} />
        <SelectField label="The other" value={right} options={options} onChange={setRight} />
        <div class="field">
          <label for={id}>Picture</label>
          <input
            id={id}
            type="file"
            required
            accept="image/jpeg,image/png,image/webp"
            onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)}
          />
        </div>
        <button class="button primary" type="submit" disabled={action.busy}>
          Compare
        </button>
      </form>
      <ProblemLine problem={action.problem} />
      {seen && (
        <div class="columns compare">
          {seen.results.map((result, index) => (
            <Side key={`${result.request_id}/${index}`} url={seen.url} result={result} />
          ))}
        </div>
      )}
    </Dialog>
  );
}
