// A collector of traces: takes OTLP/HTTP as JSON and reads it by OpenTelemetry's own protobuf
// definitions. What these do not know, or would lose on the way to protobuf and back, is an error.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
const transformer = dirname(require.resolve('@opentelemetry/otlp-transformer/package.json'));
const { opentelemetry } = require(join(transformer, 'build/src/generated/root.js'));
const { ExportTraceServiceRequest: Message } = opentelemetry.proto.collector.trace.v1;

const IDS = new Set(['traceId', 'spanId', 'parentSpanId']);

/** JSON of OTLP has ids in hexadecimal digits, where protobuf's own has base64. */
function withBytes(value) {
  if (Array.isArray(value)) {
    return value.map(withBytes);
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => {
    if (!IDS.has(name)) {
      return [name, withBytes(inner)];
    }
    assert.match(inner, name === 'traceId' ? /^[0-9a-f]{32}$/ : /^[0-9a-f]{16}$/, name);
    return [name, Buffer.from(inner, 'hex')];
  }));
}

const plain = (attributes) => Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

/** The spans of a message, each with its attributes and its resource as plain objects. */
export function decode(text) {
  const sent = withBytes(JSON.parse(text));
  const message = Message.fromObject(sent);
  assert.equal(Message.verify(message), null);
  const read = Message.toObject(Message.decode(Message.encode(message).finish()), { longs: String, bytes: Buffer });
  assert.deepEqual(read, sent, 'all of it is OTLP');
  return sent.resourceSpans.flatMap(({ resource, scopeSpans }) => scopeSpans.flatMap(({ scope, spans }) =>
    spans.map((span) => ({
      ...span,
      traceId: span.traceId.toString('hex'),
      spanId: span.spanId.toString('hex'),
      parentSpanId: span.parentSpanId?.toString('hex'),
      attributes: plain(span.attributes ?? []),
      resource: plain(resource.attributes),
      scope: scope.name,
    }))));
}

/**
 * Listens until it is closed. spans: all that were taken. answers: what it does with the next
 * messages instead of taking them: a status, or [status, headers], 'hang', or 'close'.
 */
export async function startCollector() {
  const spans = [];
  const answers = [];
  const posts = [];
  const errors = [];
  const take = (request, body, response) => {
    const answer = answers.shift() ?? 200;
    const [status, headers] = Array.isArray(answer) ? answer : [answer, {}];
    posts.push({ at: performance.now(), url: request.url, headers: request.headers, answer: status });
    if (answer === 'close') {
      request.socket.destroy();
    } else if (answer === 200) {
      spans.push(...decode(body));
      response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"partialSuccess":{}}');
    } else if (answer !== 'hang') {
      response.writeHead(status, headers).end();
    }
  };
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      try {
        assert.equal(request.method, 'POST');
        assert.equal(request.headers['content-type'], 'application/json');
        take(request, Buffer.concat(chunks).toString(), response);
      } catch (error) {
        errors.push(error);
        response.writeHead(400).end();
      }
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    spans,
    answers,
    posts,
    errors,
    close: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}
