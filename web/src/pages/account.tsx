// One's own account: the password.

import { useState } from 'preact/hooks';
import { changePassword } from '../api/accounts.ts';
import { useObserved } from '../observable.ts';
import { me as whoever } from '../shell/session.ts';
import { TextField } from '../ui/field.tsx';
import { useAction } from '../ui/load.ts';
import { Blank, Page, ProblemLine } from '../ui/page.tsx';
import { notify } from '../ui/toast.tsx';

function PasswordForm({ name }: { name: string }) {
  const [before, setBefore] = useState('');
  const [after, setAfter] = useState('');
  const [again, setAgain] = useState('');
  const action = useAction();
  const differs = again !== '' && again !== after;

  async function change(): Promise<void> {
    if (await action.run(() => changePassword(before, after))) {
      setBefore('');
      setAfter('');
      setAgain('');
      notify('Your password is changed, and your other sessions are over.');
    }
  }
  return (
    <form
      class="card form narrow-form"
      aria-labelledby="password-title"
      onSubmit={(event) => {
        event.preventDefault();
        if (after === again) {
          void change();
        }
      }}
    >
      <h2 id="password-title">Change the password</h2>
      <input class="sr-only" type="text" autocomplete="username" value={name} readOnly tabIndex={-1} aria-label="Name" />
      <TextField
        label="Password so far"
        type="password"
        value={before}
        onInput={setBefore}
        required
        autocomplete="current-password"
      />
      <TextField
        label="New password"
        type="password"
        value={after}
        onInput={setAfter}
        required
        autocomplete="new-password"
        help="8 characters or more. Your other sessions end; keys stay."
      />
      <TextField
        label="New password again"
        type="password"
        value={again}
        onInput={setAgain}
        required
        autocomplete="new-password"
      />
      <p class="problem-line" role="alert">
        {differs && 'The two are not the same.'}
      </p>
      <ProblemLine problem={action.problem} />
      <div class="actions">
        <button class="button primary" type="submit" disabled={action.busy || differs}>
          Change it
        </button>
      </div>
    </form>
  );
}

export function Account() {
  const me = useObserved(whoever);
  return (
    <Page title="Your account" lead={me?.name ? `${me.name}, ${me.role}` : undefined}>
      {me?.kind === 'session' ? (
        <PasswordForm name={me.name ?? ''} />
      ) : (
        <Blank icon="users" title="Nobody is signed in">
          The server is in open use. <a href="/users">Add the first user</a>
        </Blank>
      )}
    </Page>
  );
}
