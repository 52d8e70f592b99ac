// The models: their versions, which one serves, and who may use them.

import { useState } from 'preact/hooks';
import { may } from '../api/accounts.ts';
import {
  listModels,
  loadModel,
  removeModel,
  rollbackModel,
  unloadModel,
  type ModelInfo,
  type ModelVersion,
} from '../api/models.ts';
import { bytes, count } from '../format.ts';
import { AccessDialog } from '../models/access.tsx';
import { Compare } from '../models/compare.tsx';
import { OptimizeDialog } from '../models/optimize.tsx';
import { UploadModel } from '../models/upload.tsx';
import { useObserved } from '../observable.ts';
import { me as whoever } from '../shell/session.ts';
import { Badge, type Tone } from '../ui/badge.tsx';
import { Confirm } from '../ui/dialog.tsx';
import { Icon } from '../ui/icon.tsx';
import { useAction, useEvery, useList } from '../ui/load.ts';
import { Blank, LoadedList, Page, ProblemLine } from '../ui/page.tsx';
import { ActionsHead } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';
import { notify } from '../ui/toast.tsx';

const everyMs = 5000;

const tones: Record<ModelVersion['state'], Tone> = { ready: 'good', loading: 'busy', unloaded: 'quiet', failed: 'bad' };

interface Doing {
  busy: boolean;
  change: (work: () => Promise<ModelInfo>, words: string) => void;
  remove: (model: string, version: number | null) => void;
  access: (model: string) => void;
  optimize: (model: string) => void;
}

function VersionRow({ model, version, doing }: { model: ModelInfo; version: ModelVersion; doing: Doing | null }) {
  const { version: number, state, serving, reason } = version;
  const name = `${model.name} ${number}`;
  return (
    <tr>
      <th scope="row">{number}</th>
      <td>
        <Badge tone={tones[state]}>{state}</Badge>
        {reason && <div class="help small-text">{reason}</div>}
      </td>
      <td>{serving ? <Badge tone="good">serving</Badge> : <span class="soft">–</span>}</td>
      <td class="number end">{bytes(version.size_bytes)}</td>
      <td class="number end">{version.memory_bytes === null ? '–' : bytes(version.memory_bytes)}</td>
      <td class="number end">{count(version.inferences)}</td>
      <td>
        <Time at={version.added_at} />
      </td>
      <td>
        {doing && (
          <div class="row-actions">
            {!serving && (
              <button
                class="button small"
                type="button"
                aria-label={`Let it serve: ${name}`}
                disabled={doing.busy}
                onClick={() => doing.change(() => loadModel(model.name, number), `${name} serves now.`)}
              >
                Let it serve
              </button>
            )}
            {state === 'ready' && !version.default && (
              <button
                class="button small"
                type="button"
                aria-label={`Unload ${name}`}
                disabled={doing.busy}
                onClick={() => doing.change(() => unloadModel(model.name, number), `${name} is out of memory.`)}
              >
                Unload
              </button>
            )}
            <button
              class="button small"
              type="button"
              aria-label={`Remove ${name}`}
              onClick={() => doing.remove(model.name, number)}
            >
              <Icon name="trash" />
            </button>
          </div>
        )}
      </td>
    </tr>
  );
}

function about({ kind, input, classes, license }: ModelInfo): string {
  return [
    kind === 'sam' ? 'cuts things out' : 'finds objects',
    input && `${input.width}×${input.height}${input.dynamic ? ' dynamic' : ''}`,
    classes && `${classes.length} ${classes.length === 1 ? 'class' : 'classes'}`,
    license,
  ]
    .filter(Boolean)
    .join(' · ');
}

function ModelCard({ model, doing, isAdmin }: { model: ModelInfo; doing: Doing | null; isAdmin: boolean }) {
  const { name } = model;
  const lowest = Math.min(...model.versions.map(({ version }) => version));
  const canRollBack = model.serving_version !== null && model.serving_version > lowest;
  return (
    <section class="card table-card" aria-label={name} tabIndex={0}>
      <div class="model-head">
        <div class="model-words">
          <h2>
            {name} {model.default && <Badge tone="quiet">default</Badge>}
          </h2>
          <p class="help small-text">{about(model)}</p>
        </div>
        <div class="actions">
          {doing && canRollBack && (
            <button
              class="button small"
              type="button"
              disabled={doing.busy}
              onClick={() => doing.change(() => rollbackModel(name), `${name} is rolled back.`)}
            >
              Roll back
            </button>
          )}
          {isAdmin && doing && model.kind === 'detector' && (
            <button class="button small" type="button" aria-label={`Optimise ${name}`} onClick={() => doing.optimize(name)}>
              Optimise
            </button>
          )}
          {isAdmin && doing && (
            <button class="button small" type="button" aria-label={`Access to ${name}`} onClick={() => doing.access(name)}>
              Access
            </button>
          )}
          {doing && !model.default && (
            <button class="button small" type="button" aria-label={`Remove ${name}`} onClick={() => doing.remove(name, null)}>
              Remove
            </button>
          )}
        </div>
      </div>
      <table>
        <thead>
          <tr>
            <th scope="col">Version</th>
            <th scope="col">State</th>
            <th scope="col">Serving</th>
            <th scope="col" class="end">Size</th>
            <th scope="col" class="end">Memory</th>
            <th scope="col" class="end">Inferences</th>
            <th scope="col">Added</th>
            <ActionsHead />
          </tr>
        </thead>
        <tbody>
          {model.versions.map((version) => (
            <VersionRow key={version.version} model={model} version={version} doing={doing} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

type Open =
  | { kind: 'upload' | 'compare' }
  | { kind: 'access' | 'optimize'; model: string }
  | { kind: 'remove'; model: string; version: number | null };

export function Models() {
  const me = useObserved(whoever);
  const canChange = may(me, 'operator');
  const list = useList<ModelInfo>(listModels, []);
  const [open, setOpen] = useState<Open | null>(null);
  const action = useAction();
  const removal = useAction();
  const close = (): void => setOpen(null);
  useEvery(everyMs, () => open === null && !action.busy && list.refresh());

  const doing: Doing | null = canChange
    ? {
        busy: action.busy,
        change: (work, words) => {
          void action.run(async () => {
            await work();
            notify(words);
            list.reload();
          });
        },
        remove: (model, version) => {
          removal.clear();
          setOpen({ kind: 'remove', model, version });
        },
        access: (model) => setOpen({ kind: 'access', model }),
        optimize: (model) => setOpen({ kind: 'optimize', model }),
      }
    : null;

  async function remove(model: string, version: number | null): Promise<void> {
    if (await removal.run(() => removeModel(model, version))) {
      notify(`${model}${version === null ? '' : ` ${version}`} is removed.`);
      close();
      list.reload();
    }
  }

  return (
    <Page
      title="Models"
      lead="Each in versions, of which one serves. A swap loses no request."
      actions={
        canChange && (
          <>
            <button class="button" type="button" disabled={!list.value?.length} onClick={() => setOpen({ kind: 'compare' })}>
              Compare
            </button>
            <button class="button primary" type="button" onClick={() => setOpen({ kind: 'upload' })}>
              <Icon name="upload" /> Upload a model
            </button>
          </>
        )
      }
    >
      <ProblemLine problem={action.problem} />
      <LoadedList
        list={list}
        empty={
          <Blank icon="models" title="No models">
            Upload one, or run <code>nexus models pull</code> on the server.
          </Blank>
        }
      >
        {(items) =>
          items.map((model) => <ModelCard key={model.name} model={model} doing={doing} isAdmin={may(me, 'admin')} />)
        }
      </LoadedList>
      {open?.kind === 'upload' && (
        <UploadModel
          onClose={close}
          onDone={({ name, serving_version: version }) => {
            notify(`${name} ${version ?? ''} serves now.`);
            close();
            list.reload();
          }}
        />
      )}
      {open?.kind === 'compare' && <Compare models={list.value ?? []} onClose={close} />}
      {open?.kind === 'access' && <AccessDialog model={open.model} onClose={close} />}
      {open?.kind === 'optimize' && <OptimizeDialog model={open.model} onChange={list.reload} onClose={close} />}
      {open?.kind === 'remove' && (
        <Confirm
          title={open.version === null ? 'Remove the model?' : 'Remove the version?'}
          yes="Remove"
          busy={removal.busy}
          problem={removal.problem}
          onYes={() => void remove(open.model, open.version)}
          onClose={close}
        >
          <p>
            <strong>{`${open.model} ${open.version ?? ''}`}</strong> goes from memory and disk. Requests that use it end on
            it.
          </p>
        </Confirm>
      )}
    </Page>
  );
}
