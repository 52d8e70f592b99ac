// Who may use a model.

import { useState } from 'preact/hooks';
import { listUsers, type User } from '../api/accounts.ts';
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

function subject({ user_id: user, key_id: key }: Grant, users: readonly User[]): string {
  return user ? (users.find(({ id }) => id === user)?.name ?? user) : `key ${key ?? ''}`;
}

export function AccessDialog({ model, onClose }: { model: string; onClose: () => void }) {
  const load = useLoad((signal) => getAccess(model, signal), [model]);
  const users = useLoad(async (signal) => (await listUsers(null, signal)).items, []);
  const [user, setUser] = useState('');
  const action = useAction();
  const change = (work: () => Promise<ModelAccess>): void => {
    void action.run(async () => load.put(await work()));
  };
  const known = users.value ?? [];
  return (
    <Dialog title={`Who may use ${model}`} onClose={onClose}>
      <Loaded load={load}>
        {(access) => {
          const others = known.filter(({ id }) => !access.grants.some((entry) => entry.user_id === id));
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
                        <span class="grow">{subject(entry, known)}</span>
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
                  {others.length > 0 && (
                    <div class="filters">
                      <SelectField
                        label="Let a user in"
                        value={user}
                        options={[['', 'choose'], ...others.map(({ id, name }) => [id, name] as const)]}
                        onChange={setUser}
                      />
                      <button
                        class="button"
                        type="button"
                        disabled={user === '' || action.busy}
                        onClick={() => {
                          change(() => grant(model, user));
                          setUser('');
                        }}
                      >
                        Let in
                      </button>
                    </div>
                  )}
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
