// Who is there.

import { getJson, send, sendJson, withQuery, type ListPage } from './http.ts';

export const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Who asks. */
export interface Me {
  kind: 'anonymous' | 'local' | 'session' | 'key'; // local: a server without users, on this machine
  name: string | null;
  role: Role | null;
}

/** Whether that role, or one above it, is held. */
export function may(me: Me | null, role: Role): boolean {
  if (!me) {
    return false;
  }
  const held = me.kind === 'local' ? 'admin' : me.role;
  return held !== null && roles.indexOf(held) >= roles.indexOf(role);
}

export const whoAmI = (): Promise<Me> => getJson('/api/v1/auth/me');

export const signIn = (name: string, password: string): Promise<Me> =>
  sendJson('POST', '/api/v1/auth/login', { name, password });

export async function signOut(): Promise<void> {
  await send('POST', '/api/v1/auth/logout');
}

export async function isSetUpNeeded(): Promise<boolean> {
  return (await getJson<{ needed: boolean }>('/api/v1/auth/setup')).needed;
}

/** Makes the first admin, and signs in. */
export const setUp = (token: string, name: string, password: string): Promise<Me> =>
  sendJson('POST', '/api/v1/auth/setup', { token, name, password });

export const changePassword = async (oldPassword: string, newPassword: string): Promise<void> => {
  await send('POST', '/api/v1/auth/password', { old_password: oldPassword, new_password: newPassword });
};

export interface User {
  id: string;
  name: string;
  role: Role;
  disabled: boolean;
  created_at: string;
  password_at: string;
  login_at: string | null;
}

const userPath = (id: string): string => `/api/v1/users/${encodeURIComponent(id)}`;

export const listUsers = (cursor: string | null, signal?: AbortSignal): Promise<ListPage<User>> =>
  getJson(withQuery('/api/v1/users', { cursor, limit: 100 }), signal);

export const addUser = (user: { name: string; password: string; role: Role }): Promise<User> =>
  sendJson('POST', '/api/v1/users', user);

export const changeUser = (
  id: string,
  change: { role?: Role; disabled?: boolean; password?: string },
): Promise<User> => sendJson('PATCH', userPath(id), change);

export async function removeUser(id: string): Promise<void> {
  await send('DELETE', userPath(id));
}

export const scopes = ['read', 'infer', 'videos', 'models', 'metrics', 'admin'] as const;
export type Scope = (typeof scopes)[number];

export interface Key {
  id: string; // the public part
  user: string;
  name: string;
  scopes: Scope[];
  created_at: string;
  expires_at: string;
  used_at: string | null;
  revoked_at: string | null;
}

/** user: whose, for admins; '*' is everybody, null oneself. */
export const listKeys = (
  user: string | null,
  cursor: string | null,
  signal: AbortSignal,
): Promise<ListPage<Key>> => getJson(withQuery('/api/v1/keys', { user, cursor, limit: 50 }), signal);

/** The answer is the only one that ever has the key itself. */
export const addKey = (key: {
  name: string;
  scopes: Scope[];
  expires_in_s: number;
}): Promise<Key & { key: string }> => sendJson('POST', '/api/v1/keys', key);

export async function revokeKey(id: string): Promise<void> {
  await send('DELETE', `/api/v1/keys/${encodeURIComponent(id)}`);
}
