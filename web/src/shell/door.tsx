// The door in front of the page until somebody may use it: signing in, and the first admin by the
// set-up link. It comes back when the session ends, and what was there is still there behind it.

import { useEffect, useRef, useState } from 'preact/hooks';
import { isSetUpNeeded, setUp, signIn, signOut, whoAmI, type Me } from '../api/accounts.ts';
import { ApiError, onSignedOut, type Problem } from '../api/http.ts';
import { observable } from '../observable.ts';
import { go } from '../router.ts';
import { useAction } from '../ui/load.ts';
import { forgetUploads } from '../video/uploads.ts';
import { refreshHealth } from './health.ts';
import { entered, me } from './session.ts';

interface DoorPlan {
  title: string;
  text: string;
  button: string;
  isNew: boolean; // the password
  enter: (name: string, password: string) => Promise<Me>;
}

const signInDoor: DoorPlan = {
  title: 'Sign in',
  text: 'This server is for its users.',
  button: 'Sign in',
  isNew: false,
  enter: signIn,
};

const setUpDoor = (token: string): DoorPlan => ({
  title: 'Make the first admin',
  text: 'The name and password of your choice (8 characters or more). From then on everybody signs in.',
  button: 'Make it, and sign in',
  isNew: true,
  enter: (name, password) => setUp(token, name, password),
});

export type Entrance =
  | { state: 'asking' }
  | { state: 'unknown'; problem: Problem } // nobody could say who it is
  | { state: 'shut'; plan: DoorPlan }
  | { state: 'open' };

export const entrance = observable<Entrance>({ state: 'asking' });

let lastName: string | null | undefined; // whose page it is that lies behind the door

function open(who: Me): void {
  if (lastName !== undefined && lastName !== who.name) {
    location.reload(); // nothing of what another has seen stays
    return;
  }
  lastName = who.name;
  me.set(who);
  if (location.pathname === '/setup') {
    go('/', { replace: true }); // and with it goes the token of the set-up link
  }
  entrance.set({ state: 'open' });
  entered.set(entered.get() + 1);
}

function shut(plan: DoorPlan): void {
  me.set(null);
  entrance.set({ state: 'shut', plan });
}

/** Which door to begin with; null: it stands open. */
async function firstDoor(who: Me): Promise<DoorPlan | null> {
  const token = location.hash.slice(1);
  if (location.pathname === '/setup' && token && who.kind !== 'session') {
    if (await isSetUpNeeded()) {
      return setUpDoor(token);
    }
    return { ...signInDoor, text: 'There is an admin already: this link has done its work.' };
  }
  return who.kind === 'anonymous' ? signInDoor : null;
}

/** Asks who is there. */
export async function knock(): Promise<void> {
  entrance.set({ state: 'asking' });
  onSignedOut(() => {
    if (entrance.get().state === 'open') {
      shut({ ...signInDoor, text: 'Your session is over. Sign in to go on.' });
    }
  });
  try {
    const who = await whoAmI();
    const first = await firstDoor(who);
    if (first) {
      shut(first);
    } else {
      open(who);
    }
  } catch (error) {
    if (!(error instanceof ApiError)) {
      throw error;
    }
    entrance.set({ state: 'unknown', problem: error.problem });
  }
}

export async function leave(): Promise<void> {
  try {
    await signOut();
  } catch (error) {
    if (!(error instanceof ApiError)) {
      throw error;
    }
  }
  forgetUploads();
  location.assign('/'); // nothing of what was shown stays
}

export function Door({ plan }: { plan: DoorPlan }) {
  const name = useRef<HTMLInputElement>(null);
  const password = useRef<HTMLInputElement>(null);
  const { busy, problem, run } = useAction();
  const [typed, setTyped] = useState({ name: '', password: '' });

  useEffect(() => {
    document.title = `${plan.title} · Nexus`;
    name.current?.focus();
  }, [plan]);

  async function enter(): Promise<void> {
    const done = await run(async () => {
      const who = await plan.enter(typed.name.trim(), typed.password);
      open(who);
      document.getElementById('main')?.focus();
      refreshHealth();
    });
    if (!done) {
      password.current?.select();
      password.current?.focus();
    }
  }

  return (
    <section class="card door" id="door" aria-labelledby="door-title">
      <h1 id="door-title">{plan.title}</h1>
      <p class="help" id="door-text">
        {plan.text}
      </p>
      <form
        id="door-form"
        onSubmit={(event) => {
          event.preventDefault();
          void enter();
        }}
      >
        <label for="door-name">Name</label>
        <input
          ref={name}
          id="door-name"
          name="username"
          type="text"
          autocomplete="username"
          autocapitalize="none"
          spellcheck={false}
          maxLength={64}
          required
          value={typed.name}
          onInput={(event) => setTyped({ ...typed, name: event.currentTarget.value })}
        />
        <label for="door-password">Password</label>
        <input
          ref={password}
          id="door-password"
          name="password"
          type="password"
          autocomplete={plan.isNew ? 'new-password' : 'current-password'}
          maxLength={1024}
          required
          value={typed.password}
          onInput={(event) => setTyped({ ...typed, password: event.currentTarget.value })}
        />
        <p class="door-problem" id="door-problem" role="alert">
          {problem && [problem.detail, problem.advice].filter(Boolean).join('. ')}
        </p>
        <button class="button primary" id="door-submit" type="submit" disabled={busy}>
          {plan.button}
        </button>
      </form>
    </section>
  );
}
