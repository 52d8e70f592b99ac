// Streams of a server under test: added, looked at, waited for, followed.

import assert from 'node:assert/strict';
import { eventually, startServer } from './server.mjs';

export const PATIENCE_MS = 60_000; // the machine may be busy with other tests

/** A server whose streams may come from this machine and from the files in its data folder. */
export async function startStreams(data, more = {}) {
  const server = await startServer({
    args: ['--data-dir', data.path],
    env: {
      DATABASE_URL: '',
      OBJECTS_URL: '',
      RUN_JOBS: 'false',
      STREAM_FILES_DIR: data.path,
      STREAM_ALLOW_LOOPBACK: 'true',
      ...more,
    },
  });
  const followers = [];

  /** Asks for /api/v1/streams and what follows; no answer may hold what is secret in a URL. */
  async function ask(path, method = 'GET', value = undefined) {
    const init = { method };
    if (value !== undefined) {
      init.headers = { 'Content-Type': 'application/json' };
      init.body = JSON.stringify(value);
    }
    const response = await fetch(`${server.url}/api/v1/streams${path}`, init);
    const text = await response.text();
    assert.doesNotMatch(text, /secret/);
    return { status: response.status, value: text === '' ? null : JSON.parse(text), headers: response.headers };
  }
  async function add(name, url, more = {}) {
    const { status, value } = await ask('', 'POST', { name, url, fps: 3, ...more });
    assert.equal(status, 201, value.detail);
    return value.id;
  }
  const get = async (id) => (await ask(`/${id}`)).value;
  const becomes = (id, state, reason = /(?:)/) =>
    eventually(
      async () => {
        const stream = await get(id);
        return stream.state === state && reason.test(stream.reason ?? '');
      },
      `stream is ${state} ${reason}`,
      PATIENCE_MS,
    );

  /** Collects the events of a stream until it is closed. */
  async function follow(id, headers = {}) {
    const abort = new AbortController();
    const url = `${server.url}/api/v1/streams/${id}/events`;
    const response = await fetch(url, { headers, signal: abort.signal });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'text/event-stream');
    const events = [];
    const read = async () => {
      let text = '';
      for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const parts = text.split('\n\n');
        text = parts.pop();
        for (const part of parts.filter((p) => p.startsWith('id:'))) {
          const [, number, kind, value] = /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/.exec(part);
          events.push({ id: Number(number), kind, value: JSON.parse(value) });
        }
      }
    };
    const done = read().catch(() => {}); // closed by us, or with the server
    const close = () => {
      abort.abort();
      return done;
    };
    followers.push(close);
    return { events, close };
  }
  async function stop() {
    await Promise.all(followers.map((close) => close()));
    return server.stop();
  }
  return { server, ask, add, get, becomes, follow, stop };
}

/** Waits for an event; condition takes its value and kind. */
export const sees = ({ events }, condition, what) =>
  eventually(() => events.some(({ kind, value }) => condition(value, kind)), what, PATIENCE_MS);

export const hasPerson = ({ objects }) => objects?.some(({ class_name }) => class_name === 'person');
