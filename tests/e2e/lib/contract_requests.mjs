// Requests by an OpenAPI document: for an operation one that fits what is documented, with one or two
// things changed in some of them. Pools hold what earlier answers told of: ids, names, cursors.

import { schemaValues, STRANGE } from './schema_values.mjs';

const asText = (value) => (typeof value === 'string' ? value : JSON.stringify(value) ?? '');
/** What can stand in a header. */
const asHeader = (value) => asText(value).replace(/[^\t\x20-\x7e\x80-\xff]/g, '?').trim();
const encoded = (value) => encodeURIComponent(asText(value).toWellFormed?.() ?? asText(value).replace(/[\ud800-\udfff]/g, '?'));

const TYPES = ['text/plain', 'application/xml', 'application/json', 'APPLICATION/JSON', 'application/json;charset=latin1',
  'multipart/form-data', 'multipart/form-data; boundary=', 'application/x-www-form-urlencoded', 'image/jpeg', '*/*',
  'application/octet-stream', 'application/offset+octet-stream', ';', 'a', 'x'.repeat(500)];
/** Headers that any request may have; none of them changes what an operation is. */
const HEADERS = [['Accept', 'application/xml'], ['Accept', ';q=x'], ['Accept', '*/*;q=0'], ['Accept', 'image/png'],
  ['Accept-Encoding', 'zstd'], ['Accept-Encoding', 'identity;q=0, *;q=0'], ['Content-Encoding', 'gzip'],
  ['If-None-Match', '*'], ['If-None-Match', '"x", W/"y"'], ['If-Match', '"x"'], ['If-Modified-Since', 'yesterday'],
  ['If-Range', '"x"'], ['Range', 'bytes=0-0,5-9'], ['Range', 'bytes=9-1'], ['Range', 'lines=1-2'],
  ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'], ['traceparent', 'ff-x'],
  ['X-Request-Id', 'my-own.id'], ['X-Request-Id', 'two words\t'], ['Origin', 'null'], ['Sec-Fetch-Site', 'cross-site'],
  ['Idempotency-Key', 'x'.repeat(300)], ['Last-Event-ID', '-1'], ['Last-Event-ID', '99999999999999999999'],
  ['Upload-Metadata', 'filename'], ['Upload-Metadata', 'filename !!!'], ['Upload-Defer-Length', '1'],
  ['X-HTTP-Method-Override', 'DELETE'], ['Cookie', 'a=b; nexus_session'], ['Connection', 'close']];
const DEEP = ['[', '{"a":'].map((opening) => opening.repeat(20_000));

/**
 * known(name, schema, operation): a value that means something. pathPool(operation, name): one for a
 * part of a path. bodies[operationId](): what no schema makes, {type, body} or {json} for members that
 * are to be in it, and {headers, query, path} beside them; of a query [] is none.
 */
export function requestMaker({ document, ajv, random, known, bodies, pathPool }) {
  const resolve = (node) => (node?.$ref === undefined ? node
    : resolve(node.$ref.slice(2).split('/').reduce((at, key) => at[key], document)));
  const validators = new Map();
  const fits = (schema, value) => {
    if (!validators.has(schema)) {
      validators.set(schema, ajv.compile({ ...rooted(schema) }));
    }
    return validators.get(schema)(value);
  };
  /** The same schema with its references into the document. */
  function rooted(node) {
    if (Array.isArray(node)) {
      return node.map(rooted);
    }
    if (typeof node !== 'object' || node === null) {
      return node;
    }
    return Object.fromEntries(Object.entries(node).map(([key, value]) =>
      [key, key === '$ref' && typeof value === 'string' ? `openapi${value}` : rooted(value)]));
  }

  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).filter(([method]) => method !== 'parameters').map(([method, operation]) => ({
      ...operation,
      path,
      method: method.toUpperCase(),
      parameters: [...methods.parameters ?? [], ...operation.parameters ?? []].map(resolve),
      requestBody: resolve(operation.requestBody),
    })));

  /** What a parameter's text stands for, to be held against its schema. */
  function meaning(parameter, text) {
    const { type } = resolve(parameter.schema);
    if (type === 'integer' || type === 'number') {
      return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
    }
    return type === 'boolean' ? { true: true, false: false }[text] ?? text : text;
  }

  function parameterValues(values, operation, parameter) {
    const value = values.fitting(parameter.schema, parameter.name);
    if (!Array.isArray(value)) {
      return [asText(value)];
    }
    return parameter.explode === false ? [value.map(asText).join(',')] : value.map(asText);
  }

  /** A request as a list of parts that can still be changed. */
  function draft(operation) {
    const values = schemaValues(random, resolve, (name, schema) => known(name, schema, operation));
    const own = bodies[operation.operationId]?.() ?? {};
    const request = { operation, method: operation.method, template: operation.path, path: {}, query: [], headers: {}, conforms: true };
    for (const parameter of operation.parameters) {
      const { name } = parameter;
      if (parameter.in === 'path') {
        request.path[name] = own.path?.[name] ?? pathPool(operation, name) ?? parameterValues(values, operation, parameter)[0];
      } else if (parameter.in === 'query') {
        const given = own.query?.[name] !== undefined ? [own.query[name]].flat()
          : parameter.required || random.chance(0.4) ? parameterValues(values, operation, parameter) : [];
        request.query.push(...given.map((value) => [name, value]));
      } else if (parameter.required || (own.headers === undefined && random.chance(0.3))) {
        request.headers[name] = asHeader(parameterValues(values, operation, parameter)[0]);
      }
    }
    if (own.body !== undefined) {
      Object.assign(request.headers, { 'Content-Type': own.type });
      request.body = own.body;
    } else if (operation.requestBody?.content['application/json'] && (operation.requestBody.required || random.chance(0.5))) {
      request.schema = operation.requestBody.content['application/json'].schema;
      const json = values.fitting(request.schema);
      request.json = own.json === undefined ? json : { ...json, ...own.json };
      request.headers['Content-Type'] = 'application/json';
    }
    Object.assign(request.headers, own.headers);
    request.values = values;
    return request;
  }

  /** Changes one thing. Where it is not clear whether the document forbids it, conforms is undefined. */
  function change(request) {
    const { operation, values } = request;
    const unclear = () => { request.conforms = request.conforms && undefined; };
    const wrong = () => { request.conforms = false; };
    const ways = [() => {
      const [name, value] = random.pick(HEADERS);
      request.headers[name] = value;
      unclear();
    }, () => {
      request.query.push([random.pick(['unknown', '', '%', 'a[]', 'x'.repeat(100)]), asText(random.pick(STRANGE)).slice(0, 3000)]);
      unclear();
    }];
    for (const parameter of operation.parameters) {
      const { name } = parameter;
      const strange = () => asText(values.beyond(random.chance(0.5) ? meaning(parameter, request.query.find(([key]) => key === name)?.[1] ?? '') : null)).slice(0, 3000);
      if (parameter.in === 'path') {
        ways.push(() => {
          request.path[name] = strange() || '-';
          request.strangePath = true;
          unclear();
        });
      } else if (parameter.in === 'query') {
        ways.push(() => {
          const text = strange();
          request.query = [...random.chance(0.8) ? request.query.filter(([key]) => key !== name) : request.query, [name, text]];
          if (resolve(parameter.schema).type !== 'array') {
            request.conforms = request.conforms && (fits(parameter.schema, meaning(parameter, text)) ? undefined : false);
          } else {
            unclear();
          }
        });
      } else {
        ways.push(() => {
          if (parameter.required && random.chance(0.3)) {
            delete request.headers[name];
            wrong();
          } else {
            const text = asHeader(strange());
            request.headers[name] = text;
            request.conforms = request.conforms && (fits(parameter.schema, meaning(parameter, text)) ? undefined : false);
          }
        });
      }
    }
    if (operation.requestBody) {
      const { required } = operation.requestBody;
      ways.push(() => {
        const type = random.pick(TYPES);
        request.headers['Content-Type'] = type;
        unclear();
      }, () => {
        delete request.json;
        delete request.body;
        if (required) {
          wrong();
        }
      });
      if (request.json !== undefined) {
        const respoil = () => {
          request.json = values.spoiled(request.json);
        };
        const raw = () => {
          const text = JSON.stringify(request.json) ?? 'null';
          const { body, valid } = random.pick([
            { body: text.slice(0, random.below(text.length)), valid: false },
            { body: `${text}x`, valid: false },
            { body: Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(text)]) },
            { body: Buffer.from(text.replace(/[a-z]/, '\xff'), 'latin1') },
            { body: Buffer.from(text, 'utf16le'), valid: false },
            { body: text.replace('{', '{"unknown":1e999,') },
            { body: text.replace('{', `{"unknown":${'9'.repeat(400)},`) },
            { body: text.replace(/^\{("[^"]*":)/, '{$1null,$1') },
            { body: random.pick(DEEP), valid: false },
            { body: `{"a":${'['.repeat(3000)}${']'.repeat(3000)}}` },
            { body: `${' '.repeat(20_000)}${text}` },
            { body: '', valid: false },
          ]);
          request.raw = body;
          valid === false && required ? wrong() : unclear();
        };
        ways.push(respoil, respoil, respoil, raw, raw);
      } else if (Buffer.isBuffer(request.body)) {
        ways.push(() => {
          const bytes = Buffer.from(request.body);
          request.body = random.pick([
            () => bytes.subarray(0, random.below(bytes.length)),
            () => { bytes[random.below(bytes.length)] ^= 1 << random.below(8); return bytes; },
            () => Buffer.concat([bytes, bytes.subarray(0, 100)]),
            () => Buffer.from(asText(random.pick(STRANGE))),
          ])();
          unclear();
        });
      }
    } else {
      ways.push(() => {
        request.raw = '{}';
        request.headers['Content-Type'] = 'application/json';
        request.needless = true;
        wrong();
      });
    }
    random.pick(ways)();
  }

  /** Made final: {method, target, headers, body}. */
  function finish(request) {
    if (request.json !== undefined && request.raw === undefined && request.conforms !== false) {
      const valid = fits(request.schema, JSON.parse(JSON.stringify(request.json) ?? 'null'));
      request.conforms = valid ? request.conforms : false;
      if (/\\u(0000|d[89a-f])/.test(JSON.stringify(request.json))) {
        request.conforms = request.conforms && undefined; // texts that are none: no schema says so
      }
    }
    const json = request.json === undefined ? undefined : JSON.stringify(request.json) ?? 'null';
    const body = request.raw ?? json ?? request.body;
    request.sent = body === undefined ? undefined : Buffer.from(body);
    const path = request.template.replace(/\{(\w+)\}/g, (_, name) => encoded(request.path[name]));
    const query = request.query.map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join('&');
    request.target = path + (query === '' ? '' : `?${query}`);
    return request;
  }

  return {
    operations,
    resolve,
    /** One request for the operation; plain: as the document has it. */
    make(operation, plain) {
      const request = draft(operation);
      for (let changes = plain ? 0 : random.between(1, 2); changes > 0; changes--) {
        change(request);
      }
      return finish(request);
    },
  };
}
