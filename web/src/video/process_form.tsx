// What is to be done with a video: the form that becomes a job.

import { useEffect, useRef, useState } from 'preact/hooks';
import { models } from '../api/inference.ts';
import { allOutputs, processVideo, type ProcessOptions, type Video } from '../api/videos.ts';
import { setProperty } from '../dom.ts';
import { clock } from '../format.ts';
import { go } from '../router.ts';
import { useAction, useLoad } from '../ui/load.ts';
import { ProblemLine } from '../ui/page.tsx';
import { notify } from '../ui/toast.tsx';
import { ShapesJson } from './shapes_json.tsx';
import { ShapeList, ZoneEditor, type Shapes } from './zone_editor.tsx';

interface Fields {
  model: string;
  confidence: string;
  look: 'all' | 'stride' | 'fps';
  every: string;
  classes: string;
  track: boolean;
  motionGate: boolean;
  adaptive: boolean;
  annotated: boolean;
  countsEvery: string;
}

const start: Fields = {
  model: '',
  confidence: '',
  look: 'all',
  every: '5',
  classes: '',
  track: true,
  motionGate: false,
  adaptive: false,
  annotated: false,
  countsEvery: '60',
};

const listOf = (text: string): (string | number)[] =>
  text
    .split(',')
    .map((word) => word.trim())
    .filter(Boolean)
    .map((word) => (/^\d+$/.test(word) ? Number(word) : word));

function optionsOf(video: Video, fields: Fields, shapes: Shapes): ProcessOptions {
  const classes = listOf(fields.classes);
  return {
    video_id: video.id,
    track: fields.track,
    motion_gate: fields.motionGate,
    adaptive_stride: fields.adaptive,
    counts_every: Number(fields.countsEvery),
    ...(fields.model && { model: fields.model }),
    ...(fields.confidence && { confidence: Number(fields.confidence) }),
    ...(fields.look === 'stride' && { stride: Number(fields.every) }),
    ...(fields.look === 'fps' && { fps: Number(fields.every) }),
    ...(classes.length > 0 && { classes }),
    ...(shapes.zones.length > 0 && { zones: shapes.zones }),
    ...(shapes.lines.length > 0 && { lines: shapes.lines }),
    ...(fields.annotated && { outputs: allOutputs }),
  };
}

/** A frame of the video, at a time of choice, with the editor over it. */
function Frame({ video, shapes, onChange }: { video: Video; shapes: Shapes; onChange: (shapes: Shapes) => void }) {
  const frame = useRef<HTMLDivElement>(null);
  const element = useRef<HTMLVideoElement>(null);
  const [at, setAt] = useState(0);
  const duration = video.video.duration_s ?? 0;
  useEffect(() => {
    setProperty(frame.current as HTMLElement, '--ratio', String(video.video.width / video.video.height));
  }, []);
  return (
    <div class="player">
      <div ref={frame} class="video-frame editing">
        <video ref={element} src={video.content} muted playsInline preload="auto" aria-hidden="true" tabIndex={-1} />
        <ZoneEditor shapes={shapes} onChange={onChange} />
      </div>
      <label class="frame-time">
        <span>Frame at {clock(at)}</span>
        <input
          type="range"
          min={0}
          max={duration}
          step={0.1}
          value={at}
          onInput={(event) => {
            const to = event.currentTarget.valueAsNumber;
            setAt(to);
            setProperty(event.currentTarget, '--filled', `${duration > 0 ? (100 * to) / duration : 0}%`);
            (element.current as HTMLVideoElement).currentTime = to;
          }}
        />
      </label>
    </div>
  );
}

export function ProcessForm({ video }: { video: Video }) {
  const [fields, setFields] = useState<Fields>(start);
  const [shapes, setShapes] = useState<Shapes>({ zones: [], lines: [] });
  const list = useLoad(() => models(), []);
  const detectors = (list.value ?? []).filter(({ kind }) => kind === 'detector');
  const action = useAction();
  const set = (change: Partial<Fields>): void => setFields({ ...fields, ...change });

  async function submit(): Promise<void> {
    await action.run(async () => {
      const job = await processVideo(optionsOf(video, fields, shapes));
      notify('The job is in the queue.');
      go(`/jobs/${job.id}`);
    });
  }

  return (
    <form
      class="process"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <section class="card" aria-labelledby="zones-title">
        <h2 id="zones-title">Zones and lines</h2>
        <Frame video={video} shapes={shapes} onChange={setShapes} />
        <ShapeList shapes={shapes} onChange={setShapes} />
        <ShapesJson shapes={shapes} onChange={setShapes} />
      </section>
      <section class="card form" aria-labelledby="options-title">
        <h2 id="options-title">What to look for</h2>
        <div class="field">
          <label for="job-model">Model</label>
          <select id="job-model" value={fields.model} onChange={(event) => set({ model: event.currentTarget.value })}>
            <option value="">The server’s default</option>
            {detectors.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </div>
        <div class="field">
          <label for="job-classes">Classes</label>
          <input
            id="job-classes"
            type="text"
            placeholder="all"
            aria-describedby="job-classes-help"
            value={fields.classes}
            onInput={(event) => set({ classes: event.currentTarget.value })}
          />
          <p class="help" id="job-classes-help">
            Names or numbers with commas between: car, person
          </p>
        </div>
        <div class="field">
          <label for="job-confidence">Least confidence</label>
          <input
            id="job-confidence"
            type="number"
            min={0}
            max={1}
            step="any"
            placeholder="the server’s"
            value={fields.confidence}
            onInput={(event) => set({ confidence: event.currentTarget.value })}
          />
        </div>
        <div class="field">
          <label for="job-look">Look at</label>
          <select
            id="job-look"
            value={fields.look}
            onChange={(event) => set({ look: event.currentTarget.value as Fields['look'] })}
          >
            <option value="all">every frame</option>
            <option value="stride">every Nth frame</option>
            <option value="fps">N frames of a second</option>
          </select>
        </div>
        {fields.look !== 'all' && (
          <div class="field">
            <label for="job-every">N</label>
            <input
              id="job-every"
              type="number"
              required
              min={fields.look === 'stride' ? 1 : 0.001}
              max={1000}
              step={fields.look === 'stride' ? 1 : 'any'}
              value={fields.every}
              onInput={(event) => set({ every: event.currentTarget.value })}
            />
          </div>
        )}
        <div class="field">
          <label for="job-counts">Count in steps of, in seconds</label>
          <input
            id="job-counts"
            type="number"
            required
            min={0.1}
            max={86400}
            step="any"
            value={fields.countsEvery}
            onInput={(event) => set({ countsEvery: event.currentTarget.value })}
          />
        </div>
        <fieldset class="field">
          <legend>How</legend>
          {(
            [
              ['track', 'Follow objects from frame to frame'],
              ['motionGate', 'Leave the model out while nothing moves'],
              ['adaptive', 'Leave it out while tracks are easy to predict'],
              ['annotated', 'Make a video with the boxes drawn in'],
            ] as const
          ).map(([key, text]) => (
            <label class="check" key={key}>
              <input
                type="checkbox"
                checked={fields[key]}
                onChange={(event) => set({ [key]: event.currentTarget.checked })}
              />
              {text}
            </label>
          ))}
        </fieldset>
        <ProblemLine problem={action.problem} />
        <button class="button primary" type="submit" disabled={action.busy}>
          Analyse
        </button>
      </section>
    </form>
  );
}
