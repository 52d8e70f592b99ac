// Who may use a model.

import { useState } from 'preact/hooks';
import { listKeys, listUsers, type Key, type User } from '../api/accounts.ts';
import { getAccess, grant, revokeGrant, setLevel, type Grant, type Level, type ModelAccess } from '../api/models.ts';
import { Dialog } from '../ui/dialog.tsx';
import { SelectField } from '../ui/field.tsx';
import { useAction, useLoad } from '../ui/load.ts';
import { Loaded, ProblemLine } from '../ui/page.tsx';
import { Time } from '../ui/time.tsx';

const levelWords: readonly (readonly [Level, string])[] = [
  ['public', 'public: everybody, signed in or not'],
  ['authenticated', 'authenticated: whoever is signed in or has a key'],
  ['private', 'private: admins, and those who are named below'],
];

const keyWords = ({ name, user, id }: Key): string => `${name} of ${user} (${id}…)`;

function subject({ user_id: user, key_id: key }: Grant, users: readonly User[], keys: readonly Key[]): string {
  if (user) {
    return users.find(({ id }) => id === user)?.name ?? user;
  }
  const known = keys.find(({ id }) => id === key);
  return `key ${known ? keyWords(known) : (key ?? '')}`;
}

/** One of those who are not let in yet. */
function LetIn(props: {
  label: string;
  button: string;
  options: readonly (readonly [id: string, text: string])[];
  busy: boolean;
  onLetIn: (id: string) => void;
}) {
  const [chosen, setChosen] = useState('');
  if (props.options.length === 0) {
    return null;
  }
  return (
    <div class="filters">
      <SelectField label={props.label} value={chosen} options={[['', 'choose'], ...props.options]} onChange={setChosen} />
      <button
        class="button"
        type="button"
        disabled={chosen === '' || props.busy}
        onClick={() => {
          props.onLetIn(chosen);
          setChosen('');
        }}
      >
        {props.button}
      </button>
    </div>
  );
}

export function AccessDialog({ model, onClose }: { model: string; onClose: () => void }) {
  const load = useLoad((signal) => getAccess(model, signal), [model]);
  const users = useLoad(async (signal) => (await listUsers(null, signal)).items, []);
  const keys = useLoad(async (signal) => (await listKeys('*', null, signal)).items, []);
  const action = useAction();
  const change = (work: () => Promise<ModelAccess>): void => {
    void action.run(async () => load.put(await work()));
  };
  const known = users.value ?? [];
  const knownKeys = (keys.value ?? []).filter(
    ({ revoked_at: revoked, expires_at: ends }) => !revoked && Date.parse(ends) > Date.now(),
  );
  return (
    <Dialog title={`Who may use ${model}`} onClose={onClose}>
      <Loaded load={load}>
        {(access) => {
          const others = known.filter(({ id }) => !access.grants.some((entry) => entry.user_id === id));
          const otherKeys = knownKeys.filter(({ id }) => !access.grants.some((entry) => entry.key_id === id));
          return (
            <div class="form">
              <SelectField
                label="Level"
                value={access.level}
                options={levelWords}
                onChange={(level) => change(() => setLevel(model, level))}
              />
              {access.level === 'private' && (
                <>
                  <ul class="plain-list" aria-label="Those who may">
                    {access.grants.map((entry) => (
                      <li key={entry.user_id ?? entry.key_id}>
                        <span class="grow">{subject(entry, known, keys.value ?? [])}</span>
                        {entry.expires_at && (
                          <span class="soft">
                            ends <Time at={entry.expires_at} />
                          </span>
                        )}
                        <button
                          class="button small"
                          type="button"
                          disabled={action.busy}
                          onClick={() => change(() => revokeGrant(model, entry.user_id ?? entry.key_id ?? ''))}
                        >
                          Take back
                        </button>
                      </li>
                    ))}
                    {access.grants.length === 0 && <li class="soft">Admins only.</li>}
                  </ul>
                  <LetIn
                    label="Let a user in"
                    button="Let the user in"
                    options={others.map(({ id, name }) => [id, name] as const)}
                    busy={action.busy}
                    onLetIn={(id) => change(() => grant(model, { user_id: id }))}
                  />
                  <LetIn
                    label="Let a key in, but not its user"
                    button="Let the key in"
                    options={otherKeys.map((key) => [key.id, keyWords(key)] as const)}
                    busy={action.busy}
                    onLetIn={(id) => change(() => grant(model, { key_id: id }))}
                  />
                </>
              )}
              <ProblemLine problem={action.problem} />
            </div>
          );
        }}
      </Loaded>
    </Dialog>
  );
}
