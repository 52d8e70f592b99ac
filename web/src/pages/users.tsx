// Who may sign in, and what they may do.

import { useState } from 'preact/hooks';
import { addUser, changeUser, listUsers, removeUser, type Role, type User } from '../api/accounts.ts';
import { useObserved } from '../observable.ts';
import { me as whoever } from '../shell/session.ts';
import { Badge } from '../ui/badge.tsx';
import { Confirm } from '../ui/dialog.tsx';
import { SelectField, TextField } from '../ui/field.tsx';
import { FormDialog } from '../ui/form_dialog.tsx';
import { Icon } from '../ui/icon.tsx';
import { useAction, useList } from '../ui/load.ts';
import { Blank, LoadedList, Page } from '../ui/page.tsx';
import { ActionsHead, TableCard } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';
import { notify } from '../ui/toast.tsx';

const roleWords: readonly (readonly [Role, string])[] = [
  ['viewer', 'viewer: looks'],
  ['operator', 'operator: runs models, takes videos'],
  ['admin', 'admin: everything'],
];

function AddUser(props: { first: boolean; onDone: () => void; onClose: () => void }) {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [role, setRole] = useState<Role>(props.first ? 'admin' : 'viewer');
  return (
    <FormDialog
      title="Add a user"
      submit="Add"
      onClose={props.onClose}
      work={async () => {
        const user = await addUser({ name: name.trim(), password, role });
        notify(`${user.name} can sign in now.`);
        props.onDone();
      }}
    >
      {props.first && (
        <p class="help">The first user is an admin and ends open use: from then on everybody signs in, you too.</p>
      )}
      <TextField label="Name" value={name} onInput={setName} required maxLength={64} />
      <TextField
        label="Password"
        type="password"
        value={password}
        onInput={setPassword}
        required
        autocomplete="new-password"
        help="8 characters or more."
      />
      <SelectField label="Role" value={role} options={roleWords} onChange={setRole} />
    </FormDialog>
  );
}

function EditUser(props: { user: User; onDone: () => void; onClose: () => void }) {
  const { user } = props;
  const [role, setRole] = useState<Role>(user.role);
  const [disabled, setDisabled] = useState(user.disabled);
  const [password, setPassword] = useState('');
  return (
    <FormDialog
      title={`Change ${user.name}`}
      submit="Change"
      onClose={props.onClose}
      work={async () => {
        const change = {
          ...(role !== user.role && { role }),
          ...(disabled !== user.disabled && { disabled }),
          ...(password && { password }),
        };
        if (Object.keys(change).length > 0) {
          await changeUser(user.id, change);
          notify(`${user.name} is changed.`);
        }
        props.onDone();
      }}
    >
      <SelectField label="Role" value={role} options={roleWords} onChange={setRole} />
      <label class="check">
        <input type="checkbox" checked={disabled} onChange={(event) => setDisabled(event.currentTarget.checked)} />
        Disabled: may not sign in, and keys do not work
      </label>
      <TextField
        label="New password"
        type="password"
        value={password}
        onInput={setPassword}
        autocomplete="new-password"
        placeholder="as it is"
        help="It ends the user’s sessions, and a lockout."
      />
    </FormDialog>
  );
}

function Row({ user, onEdit, onRemove }: { user: User; onEdit: () => void; onRemove: () => void }) {
  return (
    <tr>
      <th scope="row">{user.name}</th>
      <td>{user.role}</td>
      <td>{user.disabled ? <Badge tone="warn">disabled</Badge> : <Badge tone="good">active</Badge>}</td>
      <td>
        <Time at={user.login_at} />
      </td>
      <td>
        <Time at={user.created_at} />
      </td>
      <td>
        <div class="row-actions">
          <button class="button small" type="button" aria-label={`Change ${user.name}`} onClick={onEdit}>
            Change
          </button>
          <button class="button small" type="button" aria-label={`Remove ${user.name}`} onClick={onRemove}>
            <Icon name="trash" />
          </button>
        </div>
      </td>
    </tr>
  );
}

type Open = { kind: 'add' } | { kind: 'edit' | 'remove'; user: User } | null;

export function Users() {
  const me = useObserved(whoever);
  const list = useList<User>(listUsers, []);
  const [open, setOpen] = useState<Open>(null);
  const action = useAction();
  const close = (): void => setOpen(null);
  const done = (): void => {
    setOpen(null);
    list.reload();
  };

  async function remove(user: User): Promise<void> {
    if (await action.run(() => removeUser(user.id))) {
      notify(`${user.name} is removed.`);
      done();
    }
  }

  return (
    <Page
      title="Users"
      lead="Who may sign in. A change holds everywhere within a second."
      actions={
        <button class="button primary" type="button" onClick={() => setOpen({ kind: 'add' })}>
          <Icon name="plus" /> Add a user
        </button>
      }
    >
      <LoadedList
        list={list}
        empty={
          <Blank icon="users" title="Nobody yet: the server is in open use">
            Whoever is on its machine may do everything. The first user that you add, an admin, ends that.
          </Blank>
        }
      >
        {(items) => (
          <TableCard label="Users">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Role</th>
                <th scope="col">State</th>
                <th scope="col">Signed in</th>
                <th scope="col">Added</th>
                <ActionsHead />
              </tr>
            </thead>
            <tbody>
              {items.map((user) => (
                <Row
                  key={user.id}
                  user={user}
                  onEdit={() => setOpen({ kind: 'edit', user })}
                  onRemove={() => {
                    action.clear();
                    setOpen({ kind: 'remove', user });
                  }}
                />
              ))}
            </tbody>
          </TableCard>
        )}
      </LoadedList>
      {open?.kind === 'add' && <AddUser first={me?.kind === 'local'} onDone={done} onClose={close} />}
      {open?.kind === 'edit' && <EditUser user={open.user} onDone={done} onClose={close} />}
      {open?.kind === 'remove' && (
        <Confirm
          title="Remove the user?"
          yes="Remove"
          busy={action.busy}
          problem={action.problem}
          onYes={() => void remove(open.user)}
          onClose={close}
        >
          <p>
            <strong>{open.user.name}</strong> goes with all sessions and keys. Videos and jobs stay.
          </p>
        </Confirm>
      )}
    </Page>
  );
}

