// Who is there: signing in and out, and the first admin by the set-up link. A door stands in front of
// the page until somebody may use it, and comes back when the session ends.

import { ApiError, isSetUpNeeded, onSignedOut, setUp, signIn, signOut, whoAmI, type Me } from './api.ts';
import { byId } from './dom.ts';
import { refreshHealth } from './health.ts';

type Enter = (name: string, password: string) => Promise<Me>;

interface Door {
  title: string;
  text: string;
  button: string;
  isNew: boolean; // the password
  enter: Enter;
}

const signInDoor: Door = {
  title: 'Sign in',
  text: 'This server is for its users.',
  button: 'Sign in',
  isNew: false,
  enter: signIn,
};

const setUpDoor = (token: string): Door => ({
  title: 'Make the first admin',
  text: 'The name and password of your choice (8 characters or more). From then on everybody signs in.',
  button: 'Make it, and sign in',
  isNew: true,
  enter: (name, password) => setUp(token, name, password),
});

let door = signInDoor;
let opened: (wasShut: boolean) => void = () => {};

function showWho(me: Me): void {
  const known = me.kind === 'session' || me.kind === 'key';
  byId('who').hidden = me.kind === 'anonymous';
  byId('who-name').textContent = known ? `${me.name} · ${me.role}` : 'Open to this machine';
  byId('who-name').title = known ? '' : 'There are no users: whoever is on this machine may do everything.';
  byId('sign-out').hidden = me.kind !== 'session';
}

function shut(which: Door): void {
  door = which;
  document.body.dataset['door'] = 'shut';
  byId('door').hidden = false;
  byId('who').hidden = true;
  byId('door-title').textContent = which.title;
  byId('door-text').textContent = which.text;
  byId('door-submit').textContent = which.button;
  byId('door-problem').textContent = '';
  byId<HTMLInputElement>('door-password').autocomplete = which.isNew ? 'new-password' : 'current-password';
  byId('door-name').focus();
}

function open(me: Me): void {
  const wasShut = document.body.dataset['door'] === 'shut';
  delete document.body.dataset['door'];
  byId('door').hidden = true;
  showWho(me);
  if (location.pathname !== '/') {
    history.replaceState(null, '', '/'); // and with it the token of the set-up link
  }
  opened(wasShut);
}

async function enter(): Promise<void> {
  const name = byId<HTMLInputElement>('door-name');
  const password = byId<HTMLInputElement>('door-password');
  const submit = byId<HTMLButtonElement>('door-submit');
  submit.disabled = true;
  byId('door-problem').textContent = '';
  try {
    const me = await door.enter(name.value.trim(), password.value);
    password.value = '';
    open(me);
    byId('main').focus();
    refreshHealth();
  } catch (error) {
    if (!(error instanceof ApiError)) {
      throw error;
    }
    const { detail, advice } = error.problem;
    byId('door-problem').textContent = [detail, advice].filter(Boolean).join('. ');
    password.select();
    password.focus();
  } finally {
    submit.disabled = false;
  }
}

async function leave(): Promise<void> {
  try {
    await signOut();
  } catch (error) {
    if (!(error instanceof ApiError)) {
      throw error;
    }
  }
  location.assign('/'); // nothing of what was shown stays
}

/** Which door to begin with; null: it stands open. */
async function firstDoor(me: Me): Promise<Door | null> {
  const token = location.hash.slice(1);
  if (location.pathname === '/setup' && token && me.kind !== 'session') {
    if (await isSetUpNeeded()) {
      return setUpDoor(token);
    }
    return { ...signInDoor, text: 'There is an admin already: this link has done its work.' };
  }
  return me.kind === 'anonymous' ? signInDoor : null;
}

/** onOpen is called whenever it is found that somebody may use the page. */
export async function setUpAccount(onOpen: (wasShut: boolean) => void): Promise<void> {
  opened = onOpen;
  byId('door-form').addEventListener('submit', (event) => {
    event.preventDefault();
    void enter();
  });
  byId('sign-out').addEventListener('click', () => void leave());
  onSignedOut(() => shut({ ...signInDoor, text: 'Your session is over. Sign in to go on.' }));
  try {
    const me = await whoAmI();
    const first = await firstDoor(me);
    if (first) {
      shut(first);
    } else {
      open(me);
    }
  } catch (error) {
    if (!(error instanceof ApiError)) {
      throw error;
    }
    opened(false); // whatever is asked for next will tell what is wrong
  }
}
