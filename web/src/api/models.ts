// Models in versions, and who may use them.

import { getJson, request, send, sendJson, withQuery, type ListPage } from './http.ts';

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

/** files: one named model, or two named encoder and decoder. It is tried before anything changes. */
export async function addModel(name: string, files: Record<string, File>): Promise<ModelInfo> {
  const form = new FormData();
  form.append('name', name);
  for (const [field, file] of Object.entries(files)) {
    form.append(field, file, file.name);
  }
  const response = await request('/api/v1/models', { method: 'POST', body: form });
  return (await response.json()) as ModelInfo;
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

export const getAccess = (name: string, signal: AbortSignal): Promise<ModelAccess> =>
  getJson(path(name, '/access'), signal);

export const setLevel = (name: string, level: Level): Promise<ModelAccess> =>
  sendJson('PUT', path(name, '/access'), { level });

export const grant = (name: string, user: string): Promise<ModelAccess> =>
  sendJson('POST', path(name, '/grants'), { user_id: user });

export const revokeGrant = (name: string, subject: string): Promise<ModelAccess> =>
  sendJson('DELETE', path(name, `/grants/${encodeURIComponent(subject)}`));
