// Zones, lines and rules of a camera, drawn on a picture of it.

import { useEffect, useRef, useState } from 'preact/hooks';
import { changeStream, type Rule, type Stream, type StreamChange } from '../api/streams.ts';
import { setProperty } from '../dom.ts';
import { Icon } from '../ui/icon.tsx';
import { useAction } from '../ui/load.ts';
import { notify } from '../ui/toast.tsx';
import { ShapesJson } from '../video/shapes_json.tsx';
import { ShapeList, ZoneEditor, type Shapes } from '../video/zone_editor.tsx';
import { useClasses, useDetectors } from './classes.tsx';
import { usePicture } from './picture.ts';
import { fieldProblem } from './problems.ts';
import { pruned, renamed } from './rule_kinds.ts';
import { RuleList } from './rules.tsx';

function Frame({ stream, shapes, onChange }: { stream: Stream; shapes: Shapes; onChange: (shapes: Shapes) => void }) {
  const frame = useRef<HTMLDivElement>(null);
  const [round, setRound] = useState(0);
  const hasPicture = stream.state === 'live' && (stream.status?.frames_processed ?? 0) > 0;
  const picture = usePicture(stream.id, hasPicture, 0, round);
  const { width = 16, height = 9 } = stream.status?.source ?? {};
  useEffect(() => setProperty(frame.current as HTMLElement, '--ratio', String(width / height)), [width, height]);
  return (
    <>
      <div ref={frame} class="video-frame editing">
        {picture ? (
          <img class="editing-picture" src={picture} alt="" />
        ) : (
          <div class="editing-picture" />
        )}
        <ZoneEditor shapes={shapes} onChange={onChange} />
      </div>
      <div class="actions">
        {hasPicture ? (
          <button class="button small" type="button" onClick={() => setRound(round + 1)}>
            <Icon name="refresh" /> Another picture
          </button>
        ) : (
          !picture && <p class="help">There is no picture now; zones and lines can be drawn all the same.</p>
        )}
      </div>
    </>
  );
}

const known = ['zones', 'lines', 'rules', 'track'];

export function StreamEditor({ stream, onSaved }: { stream: Stream; onSaved: (stream: Stream) => void }) {
  const { options } = stream;
  const [shapes, setShapes] = useState<Shapes>({ zones: options.zones ?? [], lines: options.lines ?? [] });
  const [rules, setRules] = useState<Rule[]>(options.rules ?? []);
  const classes = useClasses(useDetectors(), options.model ?? '');
  const form = useRef<HTMLFormElement>(null);
  const action = useAction();
  const problem = fieldProblem(action.problem, known);

  function change(next: Shapes): void {
    setRules(renamed(rules, shapes, next));
    setShapes(next);
  }
  async function save(): Promise<void> {
    const orNull = <T,>(list: T[]): T[] | null => (list.length > 0 ? list : null);
    const wanted: StreamChange = {
      zones: orNull(shapes.zones),
      lines: orNull(shapes.lines),
      rules: orNull(rules.map(pruned)),
    };
    const done = await action.run(async () => {
      onSaved(await changeStream(stream.id, wanted));
      notify(`Zones, lines and rules of ${stream.name} are saved.`);
    });
    if (!done) {
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>('[aria-invalid=true]')?.focus());
    }
  }

  const ofRules = problem?.field === 'rules' && problem.index !== null;
  return (
    <form
      ref={form}
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <section class="card" aria-labelledby="shapes-title">
        <h2 id="shapes-title">Zones and lines</h2>
        <Frame stream={stream} shapes={shapes} onChange={change} />
        <ShapeList shapes={shapes} onChange={change} />
        <ShapesJson shapes={shapes} onChange={change} />
      </section>
      <section class="card" aria-labelledby="rules-title">
        <h2 id="rules-title">Rules</h2>
        <p class="help">An event is made, kept with its picture, and told to others, when …</p>
        <RuleList rules={rules} shapes={shapes} classes={classes} problem={ofRules ? problem : null} onChange={setRules} />
      </section>
      <p class="problem-line" role="alert">
        {problem && (ofRules ? `Not saved: see rule ${(problem.index ?? 0) + 1}.` : action.problem?.detail)}
      </p>
      <div class="actions">
        <button class="button primary" type="submit" disabled={action.busy}>
          Save
        </button>
      </div>
    </form>
  );
}
