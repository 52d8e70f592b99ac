// Asking the server: one way for every request, and one shape for everything that goes wrong.

export interface Problem {
  title: string;
  status: number; // 0: no answer came
  detail: string;
  advice?: string;
  request_id?: string;
}

/** Any answer that is not what was asked for, or none at all. An abort is thrown as it comes. */
export class ApiError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

export const unreachable: Problem = {
  title: 'No answer',
  status: 0,
  detail: 'The server could not be reached, or it closed the connection.',
  advice: 'Check that it is running. A file far over its size limit is also cut off like this.',
};

function isProblem(value: unknown): value is Problem {
  const problem = value as Partial<Problem> | null;
  return typeof problem?.title === 'string' && typeof problem.status === 'number';
}

async function problemOf(response: Response): Promise<Problem> {
  const body: unknown = await response.json().catch(() => null);
  if (isProblem(body)) {
    return body;
  }
  return {
    title: response.statusText || `Status ${response.status}`,
    status: response.status,
    detail: 'The answer has no further explanation.',
  };
}

/** Another try may help: no answer, too slow, another writer, too many, a fault. */
export const isPassing = ({ status }: Problem): boolean =>
  [0, 408, 409, 423, 429].includes(status) || status >= 500;

/** Of a change whose answer broke off. */
const brokenOff: Problem = {
  title: 'No whole answer',
  status: 0,
  detail: 'The connection broke in the middle of the answer.',
  advice: 'What you asked for may be done all the same: look before you try again.',
};

let signedOut: () => void = () => {};

/** listener is called when an answer says that nobody is signed in (any more). */
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

/** An answer of 200 to 299; anything else is thrown as an ApiError. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    // No cache mode: each makes the browser ask the server for something fresh, and then the server's own
    // cache is of no use. Browsers keep none of the API's answers, which say no-store.
    response = await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) {
      throw error;
    }
    throw new ApiError(unreachable);
  }
  if (!response.ok) {
    if (response.status === 401 && !path.startsWith('/api/v1/auth/')) {
      signedOut();
    }
    throw new ApiError(await problemOf(response));
  }
  return response;
}

/** What `read` makes of an answer's body. A connection that breaks in the middle of it is a problem, too. */
export async function bodyOf<T>(
  response: Response,
  read: (response: Response) => Promise<T>,
  signal?: AbortSignal | null,
  problem: Problem = unreachable,
): Promise<T> {
  try {
    return await read(response);
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    throw new ApiError(problem);
  }
}

const readJson = <T>(response: Response): Promise<T> => response.json() as Promise<T>;

/** The JSON of the answer to a request. */
export async function requestJson<T>(path: string, init: RequestInit = {}): Promise<T> {
  return bodyOf(await request(path, init), readJson<T>, init.signal);
}

export const getJson = <T>(path: string, signal?: AbortSignal | null): Promise<T> =>
  requestJson(path, { signal: signal ?? null });

type Method = 'POST' | 'PUT' | 'PATCH' | 'DELETE';

// Changes need no X-CSRF-Token here: the browser itself says that they are this page's.
export function send(method: Method, path: string, value?: object): Promise<Response> {
  if (value === undefined) {
    return request(path, { method });
  }
  return request(path, {
    method,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(value),
  });
}

export async function sendJson<T>(method: Method, path: string, value?: object): Promise<T> {
  return bodyOf(await send(method, path, value), readJson<T>, null, brokenOff);
}

/** Sends a form, with its files. */
export async function postForm<T>(path: string, form: FormData): Promise<T> {
  return bodyOf(await request(path, { method: 'POST', body: form }), readJson<T>, null, brokenOff);
}

/** A page of a list, as every list of the API comes. */
export interface ListPage<T> {
  items: T[];
  next_cursor: string | null;
}

/** A path with the parameters that have a value. */
export function withQuery(path: string, query: Record<string, string | number | null | undefined>): string {
  const entries = Object.entries(query).filter(([, value]) => value != null && value !== '');
  const text = new URLSearchParams(entries.map(([key, value]) => [key, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}
