// Inference on pictures, as openapi.yaml has it.

import { bodyOf, getJson, request, requestJson, type Problem } from './http.ts';

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

export interface Options {
  model: string; // '' is the server's default
  confidence: number;
  iou: number;
  classes?: readonly number[]; // ids; absent: all of them
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
  return bodyOf(response, (answer) => answer.json() as Promise<ImageResult>, signal);
}

/** The picture with its boxes drawn on it by the server, as JPEG. */
export async function annotatedPicture(file: Blob, options: Options): Promise<Blob> {
  const response = await detect(file, options, 'image/jpeg', null);
  return bodyOf(response, (answer) => answer.blob());
}

/**
 * The mask of what the prompts mean. image: the picture, or the image_id of an earlier answer, which
 * spares the server the slow half of the work.
 */
export function segment(
  image: Blob | string,
  prompts: readonly Prompt[],
  signal: AbortSignal,
): Promise<SegmentResult> {
  const path = '/api/v1/inference/segment';
  const points = prompts.filter((prompt) => prompt.kind === 'point');
  const boxes = prompts.filter((prompt) => prompt.kind === 'box');
  if (typeof image === 'string') {
    return requestJson(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        image_id: image,
        points: points.map(({ x, y, label }) => ({ x, y, label })),
        boxes: boxes.map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2]),
      }),
      signal,
    });
  }
  const query = new URLSearchParams([
    ...points.map(({ x, y, label }): [string, string] => ['point', `${x},${y},${label}`]),
    ...boxes.map(({ x1, y1, x2, y2 }): [string, string] => ['box', `${x1},${y1},${x2},${y2}`]),
  ]);
  return requestJson(`${path}?${query}`, {
    method: 'POST',
    headers: { 'Content-Type': typeOf(image) },
    body: image,
    signal,
  });
}

/** The installed models. */
export async function models(): Promise<Model[]> {
  return (await getJson<{ items: Model[] }>('/api/v1/models')).items;
}

/** A picture of several: what was found, or why nothing was. */
export type BatchItem =
  | ({ index: number; status: 'ok' } & Pick<ImageResult, 'image' | 'model' | 'detections' | 'timings_ms'>)
  | { index: number; status: 'error'; error: Problem };

/** In the order of the files. */
export async function detectBatch(
  files: readonly File[],
  options: Options,
  signal: AbortSignal,
): Promise<BatchItem[]> {
  const form = new FormData();
  for (const file of files) {
    form.append('images', file, file.name);
  }
  const query = new URLSearchParams({ confidence: String(options.confidence), iou: String(options.iou) });
  if (options.model) {
    query.set('model', options.model);
  }
  const path = `/api/v1/inference/batch?${query}`;
  return (await requestJson<{ items: BatchItem[] }>(path, { method: 'POST', body: form, signal })).items;
}
