// The server itself: what was done on it, and the settings that it runs with.

import { getJson, withQuery, type ListPage } from './http.ts';

export interface AuditRow {
  seq: number;
  at: string;
  actor_kind: 'user' | 'key' | 'local' | 'anonymous' | 'command' | 'system';
  actor: string; // empty: none
  actor_key: string;
  address: string;
  action: string;
  object: string;
  result: 'ok' | 'refused' | 'failed';
  details: string; // JSON
  request_id: string;
}

export interface AuditFilter {
  since?: string;
  until?: string;
  actor?: string;
  action?: string;
}

export const listAudit = (
  filter: AuditFilter,
  cursor: string | null,
  signal: AbortSignal,
): Promise<ListPage<AuditRow>> => getJson(withQuery('/api/v1/audit', { ...filter, cursor, limit: 50 }), signal);

/** Where all rows that fit can be downloaded. */
export const auditExport = (filter: AuditFilter, format: 'csv' | 'ndjson'): string =>
  withQuery('/api/v1/audit', { ...filter, format });

export interface Setting {
  name: string; // in the YAML file
  environment: string;
  value: string; // of a secret ***
  is_set: boolean;
  origin: string; // where exactly it comes from
  source: 'default' | 'profile' | 'file' | 'environment' | 'option' | 'secret_file';
  default: string;
  description: string;
  reloadable: boolean; // SIGHUP takes a new value
  secret: boolean;
}

export async function listSettings(signal: AbortSignal): Promise<Setting[]> {
  return (await getJson<{ items: Setting[] }>('/api/v1/settings', signal)).items;
}
