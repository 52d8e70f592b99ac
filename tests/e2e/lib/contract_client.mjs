// One request at a time over one connection, as it is given: no redirects, nothing tidied.

import { Agent, request as open } from 'node:http';
import { isEndless } from './contract_answers.mjs';

const LIMIT_MS = 60_000;

export function contractClient(server) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const options = { agent, host: '127.0.0.1', port: server.port, setHost: true };

  /** {status, headers, body, endless}; of an answer without end the beginning. */
  function send({ method, target, headers, body }) {
    return new Promise((done, failed) => {
      const length = body === undefined ? {} : { 'Content-Length': body.length };
      const call = open({ ...options, method, path: target, headers: { ...headers, ...length } });
      call.setTimeout(LIMIT_MS, () => call.destroy(new Error(`no answer within ${LIMIT_MS} ms`)));
      call.once('error', failed).once('response', (response) => {
        const { statusCode: status, headers: fields } = response;
        const answer = { status, headers: fields, endless: isEndless({ status, headers: fields }) };
        const chunks = [];
        const finish = () => done({ ...answer, body: Buffer.concat(chunks) });
        response.on('data', (chunk) => {
          chunks.push(chunk);
          if (answer.endless) {
            finish();
            response.destroy();
          }
        }).once('end', finish).once('error', (error) => (answer.endless ? finish() : failed(error)));
        if (answer.endless && method === 'HEAD') {
          finish();
        } else if (answer.endless) {
          setTimeout(() => { finish(); response.destroy(); }, 50).unref(); // nothing need be told yet
        }
      });
      call.end(body);
    });
  }
  return { send, close: () => agent.destroy() };
}
