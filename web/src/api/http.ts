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

let signedOut: () => void = () => {};

/** listener is called when an answer says that nobody is signed in (any more). */
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

/** An answer of 200 to 299; anything else is thrown as an ApiError. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { cache: 'no-store', ...init });
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

/** The JSON of an answer. A connection that breaks in the middle of it counts as no answer. */
export async function getJson<T>(path: string, signal?: AbortSignal | null): Promise<T> {
  const response = await request(path, { signal: signal ?? null });
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    throw new ApiError(unreachable);
  }
}

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
  const response = await send(method, path, value);
  return (await response.json()) as T;
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
