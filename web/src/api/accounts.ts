// Who is there.

import { getJson, send, sendJson } from './http.ts';

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
