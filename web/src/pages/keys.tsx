// API keys: for programs, which can't sign in.

import { useRef, useState } from 'preact/hooks';
import { addKey, listKeys, may, revokeKey, scopes, type Key, type Scope } from '../api/accounts.ts';
import { useObserved } from '../observable.ts';
import { go } from '../router.ts';
import { me as whoever } from '../shell/session.ts';
import { Badge } from '../ui/badge.tsx';
import { Confirm, Dialog } from '../ui/dialog.tsx';
import { SelectField, TextField } from '../ui/field.tsx';
import { FormDialog } from '../ui/form_dialog.tsx';
import { Icon } from '../ui/icon.tsx';
import { useAction, useList } from '../ui/load.ts';
import { Blank, LoadedList, Page } from '../ui/page.tsx';
import { ActionsHead, TableCard } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';
import { notify } from '../ui/toast.tsx';

const scopeWords: Record<Scope, string> = {
  read: 'read: look at videos, jobs and models',
  infer: 'infer: find objects in pictures',
  videos: 'videos: upload them, have them analysed',
  models: 'models: add and change them',
  metrics: 'metrics: read /metrics',
  admin: 'admin: users, keys, audit, settings',
};

const day = 86_400;
const lives = [
  ['30', '30 days'],
  ['90', '90 days'],
  ['365', 'a year'],
  ['3650', 'ten years'],
] as const;

function AddKey({ onMade, onClose }: { onMade: (key: string) => void; onClose: () => void }) {
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState<readonly Scope[]>(['read']);
  const [days, setDays] = useState<(typeof lives)[number][0]>('90');
  return (
    <FormDialog
      title="Make a key"
      submit="Make it"
      onClose={onClose}
      work={async () => {
        const made = await addKey({
          name: name.trim(),
          scopes: scopes.filter((scope) => chosen.includes(scope)),
          expires_in_s: Number(days) * day,
        });
        onMade(made.key);
      }}
    >
      <TextField label="Name" value={name} onInput={setName} required maxLength={64} help="What it is for." />
      <fieldset class="field">
        <legend>What it may do, as far as you may</legend>
        {scopes.map((scope) => (
          <label class="check" key={scope}>
            <input
              type="checkbox"
              checked={chosen.includes(scope)}
              onChange={({ currentTarget: { checked } }) =>
                setChosen(checked ? [...chosen, scope] : chosen.filter((other) => other !== scope))
              }
            />
            {scopeWords[scope]}
          </label>
        ))}
      </fieldset>
      <SelectField label="It ends after" value={days} options={lives} onChange={setDays} />
    </FormDialog>
  );
}

/** The one time that the key is seen. */
function ShowKey({ secret, onClose }: { secret: string; onClose: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  async function copy(): Promise<void> {
    field.current?.select();
    try {
      await navigator.clipboard.writeText(secret);
      notify('Copied.');
    } catch {
      notify('It is selected: copy it with your keyboard.'); // without https browsers refuse
    }
  }
  return (
    <Dialog title="Your new key" onClose={onClose}>
      <div class="form">
        <p>Keep it now: it is shown this once, and never again.</p>
        <div class="field">
          <label for="new-key">Key</label>
          <input
            ref={field}
            id="new-key"
            class="mono"
            type="text"
            readOnly
            value={secret}
            onFocus={(event) => event.currentTarget.select()}
          />
        </div>
        <p class="help">
          Programs send it as <code>Authorization: Bearer …</code>
        </p>
        <div class="dialog-actions">
          <button class="button" type="button" onClick={() => void copy()}>
            Copy
          </button>
          <button class="button primary" type="button" onClick={onClose}>
            I have it
          </button>
        </div>
      </div>
    </Dialog>
  );
}

function State({ revoked_at: revoked, expires_at: ends }: Key) {
  if (revoked) {
    return <Badge tone="bad">revoked</Badge>;
  }
  return Date.parse(ends) < Date.now() ? <Badge tone="warn">ended</Badge> : <Badge tone="good">active</Badge>;
}

function Table({ items, onRevoke }: { items: Key[]; onRevoke: (key: Key) => void }) {
  return (
    <TableCard label="Keys">
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col">Key</th>
          <th scope="col">Whose</th>
          <th scope="col">May</th>
          <th scope="col">State</th>
          <th scope="col">Ends</th>
          <th scope="col">Used</th>
          <ActionsHead />
        </tr>
      </thead>
      <tbody>
        {items.map((key) => (
          <tr key={key.id}>
            <th scope="row">{key.name}</th>
            <td class="mono">{key.id}…</td>
            <td>{key.user}</td>
            <td>{key.scopes.join(', ')}</td>
            <td>
              <State {...key} />
            </td>
            <td>
              <Time at={key.expires_at} />
            </td>
            <td>
              <Time at={key.used_at} />
            </td>
            <td>
              <div class="row-actions">
                {!key.revoked_at && (
                  <button
                    class="button small"
                    type="button"
                    aria-label={`Revoke ${key.name}`}
                    onClick={() => onRevoke(key)}
                  >
                    Revoke
                  </button>
                )}
              </div>
            </td>
          </tr>
        ))}
      </tbody>
    </TableCard>
  );
}

export function Keys({ everybody }: { everybody: boolean }) {
  const me = useObserved(whoever);
  const isAdmin = may(me, 'admin');
  const list = useList<Key>((cursor, signal) => listKeys(everybody && isAdmin ? '*' : null, cursor, signal), [everybody]);
  const [adding, setAdding] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const [revoking, setRevoking] = useState<Key | null>(null);
  const action = useAction();

  async function revoke(key: Key): Promise<void> {
    if (await action.run(() => revokeKey(key.id))) {
      notify(`${key.name} is revoked.`);
      setRevoking(null);
      list.reload();
    }
  }

  return (
    <Page
      title="Keys"
      lead="For programs, which can’t sign in. A key never does more than its user may."
      actions={
        <button class="button primary" type="button" onClick={() => setAdding(true)}>
          <Icon name="plus" /> Make a key
        </button>
      }
    >
      {isAdmin && (
        <div class="segments narrow" role="radiogroup" aria-label="Whose keys">
          {([false, true] as const).map((all) => (
            <label key={String(all)}>
              <input
                class="sr-only"
                type="radio"
                name="whose"
                checked={everybody === all}
                onChange={() => go(all ? '/keys?all' : '/keys', { replace: true })}
              />
              <span>{all ? 'Everybody’s' : 'My own'}</span>
            </label>
          ))}
        </div>
      )}
      <LoadedList
        list={list}
        empty={
          <Blank icon="keys" title="No keys yet">
            Make one for each program, so that it can be taken back alone.
          </Blank>
        }
      >
        {(items) => (
          <Table
            items={items}
            onRevoke={(key) => {
              action.clear();
              setRevoking(key);
            }}
          />
        )}
      </LoadedList>
      {adding && (
        <AddKey
          onMade={(key) => {
            setAdding(false);
            setSecret(key);
            list.reload();
          }}
          onClose={() => setAdding(false)}
        />
      )}
      {secret !== null && <ShowKey secret={secret} onClose={() => setSecret(null)} />}
      {revoking && (
        <Confirm
          title="Revoke the key?"
          yes="Revoke it"
          busy={action.busy}
          problem={action.problem}
          onYes={() => void revoke(revoking)}
          onClose={() => setRevoking(null)}
        >
          <p>
            Programs that use <strong>{revoking.name}</strong> are refused within a second, for good.
          </p>
        </Confirm>
      )}
    </Page>
  );
}

/** In open use there is nobody whose keys they could be. */
export function KeysOrNone({ everybody }: { everybody: boolean }) {
  const me = useObserved(whoever);
  if (me?.kind === 'local') {
    return (
      <Page title="Keys">
        <Blank icon="keys" title="Keys belong to users, and there are none yet">
          The server is in open use. <a href="/users">Add the first user</a>
        </Blank>
      </Page>
    );
  }
  return <Keys everybody={everybody} />;
}
