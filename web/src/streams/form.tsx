// A stream added or changed. What the server refuses is said at the field that it is about.

import { useRef, useState } from 'preact/hooks';
import { may } from '../api/accounts.ts';
import { addStream, changeStream, type ScheduleRow, type Stream, type StreamChange } from '../api/streams.ts';
import { useObserved } from '../observable.ts';
import { me as whoever } from '../shell/session.ts';
import { Dialog } from '../ui/dialog.tsx';
import { SelectField, TextField } from '../ui/field.tsx';
import { useAction } from '../ui/load.ts';
import { notify } from '../ui/toast.tsx';
import { classList, ClassesField, useClasses, useDetectors } from './classes.tsx';
import { fieldProblem } from './problems.ts';
import { ScheduleField } from './schedule.tsx';

interface Fields {
  name: string;
  url: string; // of a stream that is changed: empty, for as it is
  webhook_url: string;
  webhook_secret: string; // empty, for as it is
  enabled: boolean;
  model: string;
  classes: (string | number)[];
  confidence: string;
  iou: string;
  fps: string;
  track: boolean;
  motion_gate: boolean;
  drop: 'latest' | 'drop_oldest' | 'block';
  transport: 'auto' | 'tcp' | 'udp';
  schedule: ScheduleRow[];
}

function fieldsOf(stream: Stream | null): Fields {
  const options = stream?.options ?? {};
  const text = (value: number | undefined): string => value?.toString() ?? '';
  return {
    name: stream?.name ?? '',
    url: '',
    webhook_url: stream?.webhook_url ?? '',
    webhook_secret: '',
    enabled: stream?.enabled ?? true,
    model: options.model ?? '',
    classes: classList(options.classes),
    confidence: text(options.confidence),
    iou: text(options.iou),
    fps: text(options.fps),
    track: options.track ?? true,
    motion_gate: options.motion_gate ?? false,
    drop: options.drop ?? 'latest',
    transport: options.transport ?? 'auto',
    schedule: options.schedule ?? [],
  };
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** What differs from before; an option that is left empty becomes what it is without. */
function changeOf(before: Fields, now: Fields): StreamChange {
  const change: Record<string, unknown> = {};
  for (const key of Object.keys(now) as (keyof Fields)[]) {
    const value = now[key];
    if (!same(value, before[key])) {
      const empty = value === '' || (Array.isArray(value) && value.length === 0);
      const isNumber = key === 'confidence' || key === 'iou' || key === 'fps';
      change[key] = empty ? null : isNumber ? Number(value) : typeof value === 'string' ? value.trim() : value;
    }
  }
  return change as StreamChange;
}

const drops = [
  ['latest', 'the newest counts'],
  ['drop_oldest', 'eight may wait, the oldest goes'],
  ['block', 'eight may wait, then the camera has to'],
] as const;

const transports = [
  ['auto', 'TCP, else UDP'],
  ['tcp', 'TCP'],
  ['udp', 'UDP'],
] as const;

const known = ['name', 'url', 'webhook_url', 'webhook_secret', 'model', 'classes', 'confidence', 'iou', 'fps', 'track', 'motion_gate', 'drop', 'transport', 'schedule'];

export function StreamForm(props: { stream: Stream | null; onDone: (stream: Stream) => void; onClose: () => void }) {
  const { stream, onDone, onClose } = props;
  const isAdmin = may(useObserved(whoever), 'admin');
  const before = useRef(fieldsOf(stream)).current;
  const [fields, setFields] = useState(before);
  const form = useRef<HTMLFormElement>(null);
  const detectors = useDetectors();
  const classes = useClasses(detectors, fields.model);
  const action = useAction();
  const set = (change: Partial<Fields>): void => setFields((old) => ({ ...old, ...change }));

  // The server says 409 of a name and 404 of a model without their fields' names.
  const problem = fieldProblem(action.problem, known);
  const status = action.problem?.status;
  const field = problem?.field || (status === 409 ? 'name' : status === 404 && fields.model ? 'model' : '');
  const wrong = (name: string): string | undefined => (problem && field === name ? problem.text : undefined);

  async function save(): Promise<void> {
    const done = await action.run(async () => {
      const change = changeOf(before, fields);
      if (!stream) {
        onDone(await addStream(change));
        notify(`${fields.name.trim()} is watched from now on.`);
      } else if (Object.keys(change).length === 0) {
        onClose();
      } else {
        onDone(await changeStream(stream.id, change));
        notify(`${fields.name.trim()} is changed.`);
      }
    });
    if (!done) {
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>('[aria-invalid=true]')?.focus());
    }
  }

  const names = new Set(detectors.map(({ name }) => name));
  if (fields.model) {
    names.add(fields.model); // a version, or one that is gone
  }
  const models = [['', 'the server’s default'] as const, ...[...names].map((name) => [name, name] as const)];
  const kinds = isAdmin ? 'rtsp://, http:// or file:NAME in STREAM_FILES_DIR' : 'rtsp:// or http://';
  return (
    <Dialog title={stream ? `Change ${stream.name}` : 'Add a camera'} wide onClose={onClose}>
      <form
        ref={form}
        class="form stream-form"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <div class="form-columns">
          <div class="form">
            <TextField label="Name" required maxLength={64} value={fields.name} onInput={(name) => set({ name })} wrong={wrong('name')} />
            <TextField
              label="URL"
              required={!stream}
              maxLength={2000}
              value={fields.url}
              onInput={(url) => set({ url })}
              placeholder={stream ? 'as it is' : 'rtsp://user:password@192.168.1.20/stream1'}
              help={
                stream
                  ? `Now ${stream.url}. Leave it empty to keep it; a new one is sent whole, with its password.`
                  : `${kinds}, with the user and password that the camera wants. Nobody is shown them again.`
              }
              wrong={wrong('url')}
            />
            <SelectField label="Model" value={fields.model} options={models} onChange={(model) => set({ model })} wrong={wrong('model')} />
            <ClassesField
              label="Classes"
              chosen={fields.classes}
              known={classes}
              onChange={(chosen) => set({ classes: chosen })}
              wrong={wrong('classes')}
            />
            <div class="form-pair">
              <TextField
                label="Least confidence"
                type="number"
                min={0}
                max={1}
                placeholder="the server’s"
                value={fields.confidence}
                onInput={(confidence) => set({ confidence })}
                wrong={wrong('confidence')}
              />
              <TextField label="IoU" type="number" min={0} max={1} placeholder="the server’s" value={fields.iou} onInput={(iou) => set({ iou })} wrong={wrong('iou')} />
            </div>
          </div>
          <div class="form">
            <TextField
              label="At most so many frames a second"
              type="number"
              min={0.001}
              max={1000}
              placeholder="all that come"
              value={fields.fps}
              onInput={(fps) => set({ fps })}
              wrong={wrong('fps')}
            />
            <SelectField label="When frames come too fast" value={fields.drop} options={drops} onChange={(drop) => set({ drop })} wrong={wrong('drop')} />
            <SelectField label="RTP over" value={fields.transport} options={transports} onChange={(transport) => set({ transport })} wrong={wrong('transport')} />
            <fieldset class="field">
              <legend>How</legend>
              {(
                [
                  ['enabled', 'Watch it'],
                  ['track', 'Follow objects from frame to frame'],
                  ['motion_gate', 'Leave the model out while nothing moves'],
                ] as const
              ).map(([key, text]) => (
                <label class="check" key={key}>
                  <input type="checkbox" checked={fields[key]} onChange={(event) => set({ [key]: event.currentTarget.checked })} />
                  {text}
                </label>
              ))}
              {(wrong('track') ?? wrong('motion_gate')) && (
                <p class="problem-line">{wrong('track') ?? wrong('motion_gate')}</p>
              )}
            </fieldset>
            <TextField
              label="Webhook"
              maxLength={2000}
              placeholder="none of its own"
              value={fields.webhook_url}
              onInput={(webhook_url) => set({ webhook_url })}
              help="Where its events are posted, beside the server’s own."
              wrong={wrong('webhook_url')}
            />
            {fields.webhook_url && (
              <TextField
                label="Secret of the webhook"
                type="password"
                autocomplete="new-password"
                maxLength={256}
                placeholder={stream?.webhook_signed ? 'as it is' : 'the server’s'}
                value={fields.webhook_secret}
                onInput={(webhook_secret) => set({ webhook_secret })}
                help="Signs what is posted. Nobody is shown it again."
                wrong={wrong('webhook_secret')}
              />
            )}
            <ScheduleField
              rows={fields.schedule}
              onChange={(schedule) => set({ schedule })}
              wrong={problem && field === 'schedule' ? problem : undefined}
            />
          </div>
        </div>
        <p class="problem-line" role="alert">
          {problem && (field === '' ? problem.text : `Not saved: see ${field.replace('_', ' ')}.`)}
        </p>
        <div class="dialog-actions">
          <button class="button" type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="button primary" type="submit" disabled={action.busy}>
            {stream ? 'Change' : 'Add'}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
