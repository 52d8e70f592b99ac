// Answers held against an OpenAPI document: status, type, headers, body, who may, and what must never
// be in one.

import { STATUS_CODES } from 'node:http';
import { isDeepStrictEqual } from 'node:util';

const ROLES = ['viewer', 'operator', 'admin'];
const SAFE = ['GET', 'HEAD', 'OPTIONS'];
/** RFC 9110's words where Node has older ones. */
const TITLES = { ...STATUS_CODES, 413: 'Content Too Large', 422: 'Unprocessable Content' };
/** What goes on for as long as somebody listens. */
const ENDLESS = /^(text\/event-stream|multipart\/x-mixed-replace|video\/mp4)/;

export const isEndless = ({ status, headers }) =>
  status === 200 && headers['content-length'] === undefined && ENDLESS.test(headers['content-type'] ?? '');

/** May they, by x-nexus-access? undefined: it depends on more. */
export function mayAsk({ method, 'x-nexus-access': access }, who) {
  if (who.bad) {
    return access === 'open' ? true : access === 'anybody' ? undefined : false;
  }
  if (who.noToken && !SAFE.includes(method)) {
    return access === 'anybody' ? undefined : false;
  }
  if (access === 'open' || access === 'anybody') {
    return true;
  }
  if (who.role === undefined) {
    return false;
  }
  if (access === 'own') {
    return !who.key || who.scopes.includes('admin');
  }
  return ROLES.indexOf(who.role) >= ROLES.indexOf(access.role) && who.scopes.includes(access.scope);
}

/** secrets: texts that no answer may have, but where its operation is to give them. */
export function answerJudge({ document, ajv, resolve, secrets }) {
  const validators = new Map();
  function validator(pointer) {
    if (!validators.has(pointer)) {
      const $ref = `openapi#${pointer.split('/').map(encodeURIComponent).join('/')}`;
      validators.set(pointer, ajv.compile({ $ref }));
    }
    return validators.get(pointer);
  }
  const example = secrets().find((secret) => JSON.stringify(document).includes(secret)); // which it gives away itself
  const escaped = (key) => key.replaceAll('~', '~0').replaceAll('/', '~1');

  /** The operation that a path is for: '/videos/process' fits '/videos/{id}' as well. */
  function operationOf(request) {
    const [path] = request.target.split('?');
    const at = path.replaceAll(/%(?!00)([0-9a-f]{2})/gi, (_, code) => String.fromCharCode(parseInt(code, 16)));
    const candidates = Object.keys(document.paths).filter((template) => document.paths[template][request.operation.method.toLowerCase()])
      .filter((template) => new RegExp(`^${template.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]+')}$`, 's').test(at));
    const [best] = candidates.sort((a, b) => (a.match(/\{/g) ?? []).length - (b.match(/\{/g) ?? []).length);
    return best === undefined ? undefined
      : { path: best, method: request.operation.method, ...document.paths[best][request.operation.method.toLowerCase()] };
  }

  function problemFaults(value, answer, faults) {
    if (value.status !== answer.status) {
      faults.push(`the problem says ${value.status}`);
    }
    if (value.title !== TITLES[answer.status]) {
      faults.push(`the problem of a ${answer.status} is titled '${value.title}'`);
    }
    if (value.detail.length < 8 || /\(null\)|undefined|%[sd]/.test(value.detail.replaceAll(/'[^]*'/g, ''))) {
      faults.push(`the detail '${value.detail}' says nothing`);
    }
    if (value.request_id !== answer.headers['x-request-id']) {
      faults.push('request_id is not X-Request-Id');
    }
  }

  function bodyFaults(promise, pointer, answer, head, faults) {
    const type = answer.headers['content-type'];
    if (promise.content === undefined || answer.status === 304) {
      if (answer.body.length > 0) {
        faults.push(`a body of ${answer.body.length} bytes, where none is documented`);
      }
      return;
    }
    const media = type?.split(';')[0];
    if (promise.content[media] === undefined) {
      faults.push(`documents no ${type}`);
      return;
    }
    if (head || answer.endless || !/[/+]json$/.test(media) || resolve(promise.content[media].schema).format === 'binary') {
      return;
    }
    let value;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(answer.body));
    } catch (error) {
      faults.push(`no JSON: ${error.message}`);
      return;
    }
    answer.value = value;
    const valid = validator(`${pointer}/content/${escaped(media)}/schema`);
    if (!valid(value)) {
      faults.push(`does not fit its schema: ${ajv.errorsText(valid.errors)}`);
    } else if (media === 'application/problem+json') {
      problemFaults(value, answer, faults);
    } else if (answer.status >= 400 && value.error !== undefined && value.error.length < 8) {
      faults.push(`the error '${value.error}' says nothing`);
    }
  }

  function headerFaults(promise, answer, faults) {
    for (const [name, reference] of Object.entries(promise.headers ?? {})) {
      const text = answer.headers[name.toLowerCase()];
      const schema = resolve(resolve(reference).schema);
      if (text === undefined) {
        if (['Allow', 'Location', 'Retry-After'].includes(name) && [201, 202, 405, 429, 503].includes(answer.status)) {
          faults.push(`no ${name}`);
        }
        continue;
      }
      const value = schema.type === 'integer' && /^\d+$/.test(text) ? Number(text) : [text].flat().join(', ');
      if (!ajv.validate({ ...schema }, value)) {
        faults.push(`${name}: ${text}: ${ajv.errorsText()}`);
      }
    }
    if (answer.headers['x-content-type-options'] !== 'nosniff' || answer.headers['x-injected'] !== undefined) {
      faults.push('headers that are not its own, or missing ones');
    }
  }

  function secretFaults(request, answer, faults) {
    const { operationId } = request.operation;
    const { 'set-cookie': cookie, ...headers } = answer.headers;
    const text = `${JSON.stringify(headers)}${answer.body.toString('latin1')}`;
    for (const secret of secrets().filter((one) => one !== example)) {
      // a client may be told what it sent
      if (text.includes(secret) && !request.target.includes(secret) && !request.sent?.includes(secret)) {
        faults.push(`tells a secret, ${secret}`);
      }
    }
    if (/root:[^:]*:0:0:/.test(text) || (/nxk_\w{20}/.test(text) && operationId !== 'addKey')
      || (cookie !== undefined && !['signIn', 'setUp', 'signOut', 'changePassword'].includes(operationId))) {
      faults.push('tells what is not the client\'s');
    }
  }

  /** What is wrong with the answer: sentences. answer: {status, headers, body}; gets a value. */
  return function judge(request, who, answer) {
    const faults = [];
    const operation = operationOf(request);
    const { status } = answer;
    if (operation === undefined) {
      if (status !== 404 && status !== 405 && status !== 400) {
        faults.push('something is answered where nothing is documented');
      }
      return faults;
    }
    const [pointer, promise] = [`/paths/${escaped(operation.path)}/${operation.method.toLowerCase()}/responses/${status}`,
      operation.responses[status]];
    const anywhere = status === 400 && request.needless; // as the document's description says
    if (status === 500) {
      faults.push('a failure of the server');
    } else if (promise === undefined && !anywhere) {
      faults.push('not documented');
    } else if (promise !== undefined) {
      const at = promise.$ref?.slice(1) ?? pointer;
      bodyFaults(resolve(promise), at, answer, request.method === 'HEAD', faults);
      headerFaults(resolve(promise), answer, faults);
    }
    secretFaults(request, answer, faults);
    const may = mayAsk(operation, who);
    if (may === false && ![400, 401, 403, 404, 431].includes(status) && !answer.open) {
      faults.push(`${who.name} may not`);
    } else if (may === true && who.role !== undefined && status === 401 && !['signIn', 'changePassword'].includes(operation.operationId)) {
      faults.push(`${who.name} may`);
    }
    if (isDeepStrictEqual(operation.path, request.operation.path) && may === true) {
      if (request.conforms === false && status < 300) {
        faults.push('takes what the document forbids');
      } else if (request.conforms === true && [400, 405, 406, 415].includes(status) && !operation.tags.includes('kserve')) {
        faults.push('refuses the form of what the document allows');
      }
    }
    return faults;
  };
}
