// Models in versions, and who may use them.

import { getJson, postForm, send, sendJson, withQuery, type ListPage } from './http.ts';

export interface ModelVersion {
  version: number;
  state: 'unloaded' | 'loading' | 'ready' | 'failed';
  reason: string | null; // why it failed, or is not on this host yet
  serving: boolean;
  default: boolean;
  shared: boolean;
  size_bytes: number;
  memory_bytes: number | null;
  added_at: string | null;
  loaded_at: string | null;
  inferences: number;
}

export interface ModelInfo {
  name: string;
  kind: 'detector' | 'sam';
  default: boolean;
  state: ModelVersion['state'];
  serving_version: number | null;
  versions: ModelVersion[];
  input?: { width: number; height: number; dynamic: boolean };
  classes?: string[];
  license?: string;
}

export const levels = ['public', 'authenticated', 'private'] as const;
export type Level = (typeof levels)[number];

export interface Grant {
  user_id: string | null;
  key_id: string | null;
  expires_at: string | null;
  granted_by: string;
}

export interface ModelAccess {
  model: string;
  level: Level;
  grants: Grant[];
}

const path = (name: string, rest = ''): string => `/api/v1/models/${encodeURIComponent(name)}${rest}`;

export const listModels = (cursor: string | null, signal: AbortSignal): Promise<ListPage<ModelInfo>> =>
  getJson(withQuery('/api/v1/models', { cursor, limit: 50 }), signal);

/** With its classes, when it is in memory. */
export const getModel = (name: string, signal: AbortSignal): Promise<ModelInfo> => getJson(path(name), signal);

/** files: one named model, or two named encoder and decoder. It is tried before anything changes. */
export function addModel(name: string, files: Record<string, File>): Promise<ModelInfo> {
  const form = new FormData();
  form.append('name', name);
  for (const [field, file] of Object.entries(files)) {
    form.append(field, file, file.name);
  }
  return postForm('/api/v1/models', form);
}

export const loadModel = (name: string, version: number): Promise<ModelInfo> =>
  sendJson('POST', withQuery(path(name, '/load'), { version }));

export const unloadModel = (name: string, version: number): Promise<ModelInfo> =>
  sendJson('POST', withQuery(path(name, '/unload'), { version }));

export const rollbackModel = (name: string): Promise<ModelInfo> => sendJson('POST', path(name, '/rollback'));

/** version null: all of them. */
export async function removeModel(name: string, version: number | null): Promise<void> {
  await send('DELETE', withQuery(path(name), { version }));
}

export const precisions = ['float32', 'int8', 'float16'] as const;
export type Precision = (typeof precisions)[number];

interface AveragePrecision {
  ap: number;
  ap50: number;
  ap75: number;
}

/** Both models compared. */
export interface OptimizationReport {
  size_before: number;
  size_after: number;
  judged: number; // pictures
  before?: AveragePrecision;
  after?: AveragePrecision;
  after_own_aspect?: AveragePrecision;
  speed: {
    model: 'original' | 'optimized';
    width: number;
    height: number;
    run_ms: number;
    two_at_once_per_second: number;
  }[];
}

export interface KnownOptimization {
  model: string;
  version: number; // which it is made of
  precision: Precision;
  state: 'running' | 'succeeded' | 'refused' | 'failed' | 'cancelled';
  stage: string | null;
  done: number | null;
  total: number | null;
  error: string | null;
  installed_version: number | null;
  report: OptimizationReport | null;
}

/** A model's last one. */
export type Optimization = KnownOptimization | { model: string; state: 'none' };

export const getOptimization = (name: string, signal: AbortSignal): Promise<Optimization> =>
  getJson(path(name, '/optimize'), signal);

export const optimizeModel = (
  name: string,
  options: { precision: Precision; video_id?: string },
): Promise<Optimization> => sendJson('POST', path(name, '/optimize'), options);

export const endOptimization = (name: string): Promise<Optimization> => sendJson('DELETE', path(name, '/optimize'));

export const getAccess = (name: string, signal: AbortSignal): Promise<ModelAccess> =>
  getJson(path(name, '/access'), signal);

export const setLevel = (name: string, level: Level): Promise<ModelAccess> =>
  sendJson('PUT', path(name, '/access'), { level });

export const grant = (name: string, to: { user_id: string } | { key_id: string }): Promise<ModelAccess> =>
  sendJson('POST', path(name, '/grants'), to);

export const revokeGrant = (name: string, subject: string): Promise<ModelAccess> =>
  sendJson('DELETE', path(name, `/grants/${encodeURIComponent(subject)}`));
