// The server's API as the page uses it. Shapes are those of openapi.yaml.

export interface Box {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

export interface Detection {
  class_id: number;
  class_name: string;
  confidence: number;
  box: Box;
}

export const stages = ['queue', 'decode', 'preprocess', 'inference', 'postprocess'] as const;
export type Stage = (typeof stages)[number];
export type Timings = Record<Stage | 'total', number>;

export interface ImageResult {
  request_id: string;
  model: string;
  image: { width: number; height: number };
  detections: Detection[];
  timings_ms: Timings;
}

export interface Point {
  kind: 'point';
  x: number; // pixels of the upright picture, as everywhere here
  y: number;
  label: 0 | 1; // 1: belongs to it, 0: does not
}

export interface BoxPrompt extends Box {
  kind: 'box';
}

export type Prompt = Point | BoxPrompt;

/** A mask as COCO writes it: run lengths down the columns, in a string. */
export interface Rle {
  size: [height: number, width: number];
  counts: string;
}

export interface Mask {
  mask: Rle;
  score: number; // the IoU that the model expects of it
  area: number; // pixels
  box: Box;
}

export interface SegmentResult {
  request_id: string;
  image_id: string; // stands for the picture in the next request
  image: { width: number; height: number };
  masks: Mask[];
  timings_ms: Timings;
}

export interface Model {
  name: string;
  kind: 'detector' | 'sam';
  default: boolean;
}

export interface Problem {
  title: string;
  status: number; // 0: no answer came
  detail: string;
  advice?: string;
  request_id?: string;
}

export interface Readiness {
  status: 'ready' | 'starting' | 'draining';
  version: string;
  model?: {
    name: string;
    input_width: number;
    input_height: number;
    dynamic: boolean;
    classes: number;
  };
  execution_provider?: string;
  runtime?: { name: string; version: string };
  queue?: { depth: number; size: number };
  workers?: number;
}

/** Who asks. */
export interface Me {
  kind: 'anonymous' | 'local' | 'session' | 'key'; // local: a server without users, on this machine
  name: string | null;
  role: 'viewer' | 'operator' | 'admin' | null;
}

export interface Options {
  model: string; // '' is the server's default
  confidence: number;
  iou: number;
  classes?: readonly number[]; // ids; absent: all of them
}

/** Any answer that is not what was asked for, or none at all. An abort is thrown as it comes. */
export class ApiError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

const unreachable: Problem = {
  title: 'No answer',
  status: 0,
  detail: 'The server could not be reached, or it closed the connection.',
  advice: 'Check that it is running. A picture far over its size limit is also cut off like this.',
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

async function request(path: string, init: RequestInit): Promise<Response> {
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

// Changes need no X-CSRF-Token here: the browser itself says that they are this page's.
const postJson = (path: string, value: object): Promise<Response> =>
  request(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(value),
  });

export async function whoAmI(): Promise<Me> {
  const response = await request('/api/v1/auth/me', {});
  return (await response.json()) as Me;
}

export async function signIn(name: string, password: string): Promise<Me> {
  const response = await postJson('/api/v1/auth/login', { name, password });
  return (await response.json()) as Me;
}

export async function signOut(): Promise<void> {
  await request('/api/v1/auth/logout', { method: 'POST' });
}

export async function isSetUpNeeded(): Promise<boolean> {
  const response = await request('/api/v1/auth/setup', {});
  return ((await response.json()) as { needed: boolean }).needed;
}

/** Makes the first admin, and signs in. */
export async function setUp(token: string, name: string, password: string): Promise<Me> {
  const response = await postJson('/api/v1/auth/setup', { token, name, password });
  return (await response.json()) as Me;
}

const pictureTypes = ['image/jpeg', 'image/png', 'image/webp'];

// Of anything else the server looks at the bytes, and says what they are.
const typeOf = (file: Blob): string =>
  pictureTypes.includes(file.type) ? file.type : 'application/octet-stream';

function detect(file: Blob, options: Options, accept: string, signal: AbortSignal | null) {
  const query = new URLSearchParams({
    confidence: String(options.confidence),
    iou: String(options.iou),
  });
  if (options.model) {
    query.set('model', options.model);
  }
  if (options.classes) {
    query.set('classes', options.classes.join(','));
  }
  return request(`/api/v1/inference/image?${query}`, {
    method: 'POST',
    body: file,
    headers: { 'Content-Type': typeOf(file), Accept: accept },
    signal,
  });
}

export async function detectObjects(
  file: Blob,
  options: Options,
  signal: AbortSignal,
): Promise<ImageResult> {
  const response = await detect(file, options, 'application/json', signal);
  return (await response.json()) as ImageResult;
}

/** The picture with its boxes drawn on it by the server, as JPEG. */
export async function annotatedPicture(file: Blob, options: Options): Promise<Blob> {
  const response = await detect(file, options, 'image/jpeg', null);
  return response.blob();
}

/**
 * The mask of what the prompts mean. image: the picture, or the image_id of an earlier answer, which
 * spares the server the slow half of the work.
 */
export async function segment(
  image: Blob | string,
  prompts: readonly Prompt[],
  signal: AbortSignal,
): Promise<SegmentResult> {
  const path = '/api/v1/inference/segment';
  const points = prompts.filter((prompt) => prompt.kind === 'point');
  const boxes = prompts.filter((prompt) => prompt.kind === 'box');
  const body =
    typeof image === 'string'
      ? request(path, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({
            image_id: image,
            points: points.map(({ x, y, label }) => ({ x, y, label })),
            boxes: boxes.map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2]),
          }),
          signal,
        })
      : request(
          `${path}?${new URLSearchParams([
            ...points.map(({ x, y, label }): [string, string] => ['point', `${x},${y},${label}`]),
            ...boxes.map(({ x1, y1, x2, y2 }): [string, string] => ['box', `${x1},${y1},${x2},${y2}`]),
          ])}`,
          { method: 'POST', headers: { 'Content-Type': typeOf(image) }, body: image, signal },
        );
  const response = await body;
  return (await response.json()) as SegmentResult;
}

/** The installed models. */
export async function models(): Promise<Model[]> {
  const response = await request('/api/v1/models', {});
  const body = (await response.json()) as { items: Model[] };
  return body.items;
}

/** Answers for 200 and 503 alike: both say how the server is. */
export async function readiness(): Promise<Readiness> {
  const response = await fetch('/health/ready', { cache: 'no-store' });
  const body = (await response.json()) as Partial<Readiness> | null;
  if (!body?.status || !body.version) {
    throw new ApiError(unreachable); // some other server's answer, a proxy's perhaps
  }
  return body as Readiness;
}
