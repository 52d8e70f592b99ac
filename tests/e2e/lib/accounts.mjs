// Users of a server under test: the first admin by the set-up link, signing in, keys.

import assert from 'node:assert/strict';
import { eventually } from './server.mjs';

export const PASSWORD = 'correct horse battery staple';

/** Asks, and the answer's JSON (or text, or undefined) with its status and headers. */
export async function ask(server, path, init = {}) {
  const response = await fetch(server.url + path, { redirect: 'manual', ...init });
  const text = await response.text();
  let value = text;
  try {
    value = text === '' ? undefined : JSON.parse(text);
  } catch {
    // it is no JSON
  }
  return { status: response.status, headers: response.headers, value };
}

export function json(method, value, headers = {}) {
  return {
    method,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(value),
  };
}

/** The session's cookie of an answer, with its attributes: {value, HttpOnly: true, Path: '/'}. */
export function cookieOf({ headers }) {
  const [line] = headers.getSetCookie();
  if (line === undefined) {
    return undefined;
  }
  const [pair, ...attributes] = line.split('; ');
  assert.ok(pair.startsWith('nexus_session='), line);
  const entries = attributes.map((text) => text.split('=')).map(([name, value = true]) => [name, value]);
  return { value: pair.slice('nexus_session='.length), ...Object.fromEntries(entries) };
}

/** Somebody who is signed in by this answer: headers prove who it is, changes too. */
export function session(answer) {
  const { value: token } = cookieOf(answer);
  const cookie = { Cookie: `nexus_session=${token}` };
  return { token, cookie, headers: { ...cookie, 'X-CSRF-Token': answer.value.csrf_token }, me: answer.value };
}

export async function signIn(server, name, password = PASSWORD) {
  const answer = await ask(server, '/api/v1/auth/login', json('POST', { name, password }));
  assert.equal(answer.status, 200, JSON.stringify(answer.value));
  return session(answer);
}

/** The token of the set-up link that a server without users prints. */
export async function setUpToken(server) {
  const link = /\/setup#(nxi_[\w-]+)/;
  await eventually(() => link.test(server.logs()), 'a set-up link is printed');
  return link.exec(server.logs())[1];
}

/** Makes the first admin by the set-up link. */
export async function setUp(server, name = 'ann') {
  const token = await setUpToken(server);
  const answer = await ask(server, '/api/v1/auth/setup', json('POST', { token, name, password: PASSWORD }));
  assert.equal(answer.status, 201, JSON.stringify(answer.value));
  return session(answer);
}

export async function addUser(server, admin, name, role) {
  const answer = await ask(server, '/api/v1/users', json('POST', { name, password: PASSWORD, role }, admin.headers));
  assert.equal(answer.status, 201, JSON.stringify(answer.value));
  return answer.value;
}

/** A key of that user: {id, key, headers}. */
export async function addKey(server, who, scopes, more = {}) {
  const answer = await ask(server, '/api/v1/keys', json('POST', { name: scopes.join(' '), scopes, ...more }, who.headers));
  assert.equal(answer.status, 201, JSON.stringify(answer.value));
  return { ...answer.value, headers: { Authorization: `Bearer ${answer.value.key}` } };
}
