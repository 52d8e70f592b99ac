// Jobs: videos that are analysed, or wait for it.

import { getJson, sendJson, withQuery, type ListPage } from './http.ts';
import { listen } from './listen.ts';

export const jobStates = ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead'] as const;
export type JobState = (typeof jobStates)[number];

export interface JobProgress {
  frames_done: number;
  frames_total: number | null; // an estimate
  fps: number | null;
  eta_s: number | null;
}

export interface JobFile {
  name: string;
  type: string;
  size_bytes: number;
  url: string;
}

export interface Job {
  id: string;
  state: JobState;
  cancel_requested: boolean;
  video_id: string | null; // null once the video was removed
  priority: number;
  options: Record<string, unknown>;
  progress: JobProgress | null;
  attempts: number;
  error: string | null;
  webhook_url: string | null;
  results: JobFile[];
  frames: string | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
}

export const listJobs = (
  query: { limit?: number; cursor?: string | null; state?: string | null },
  signal?: AbortSignal,
): Promise<ListPage<Job>> => getJson(withQuery('/api/v1/jobs', query), signal);

export const getJob = (id: string, signal?: AbortSignal): Promise<Job> =>
  getJson(`/api/v1/jobs/${encodeURIComponent(id)}`, signal);

export const cancelJob = (id: string): Promise<Job> =>
  sendJson('DELETE', `/api/v1/jobs/${encodeURIComponent(id)}`);

export const retryJob = (id: string): Promise<Job> =>
  sendJson('POST', `/api/v1/jobs/${encodeURIComponent(id)}/retry`);

/** How somebody was told that a job ended. */
export interface Webhook {
  id: string;
  url: string;
  state: 'pending' | 'delivered' | 'failed';
  attempts: number;
  next_attempt_at: string | null;
  created_at: string;
  log: { attempt: number; status: number | null; error: string | null; duration_ms: number; at: string }[];
}

export async function listWebhooks(id: string, signal: AbortSignal): Promise<Webhook[]> {
  return (await getJson<{ items: Webhook[] }>(`/api/v1/jobs/${encodeURIComponent(id)}/webhooks`, signal)).items;
}

export const hasEnded = (state: JobState): boolean => state !== 'queued' && state !== 'running';

export interface JobEvent {
  state: JobState;
  progress: JobProgress | null;
  error: string | null;
}

/**
 * Tells what happens to a job. onRefused: the server has nothing to tell for now, which is right when the
 * job has ended. The answer ends it.
 */
export function followJob(id: string, onEvent: (event: JobEvent) => void, onRefused: () => void): () => void {
  const take = (data: string): void => onEvent(JSON.parse(data) as JobEvent);
  return listen(`/api/v1/jobs/${encodeURIComponent(id)}/events`, { state: take, progress: take }, onRefused);
}

/** What a finished job amounts to: of its summary.json what the page shows. */
export interface Summary {
  frames: number;
  frames_inferred: number;
  duration: number;
  classes: { class_id: number; class_name: string; tracks: number; objects: number; most_at_once: number }[];
  lines: { name: string; class_name: string; in: number; out: number }[];
  zones: {
    name: string;
    class_name: string;
    entries: number;
    exits: number;
    inside: number;
    most_inside: number;
    dwell_mean: number | null;
    dwell_max: number | null;
  }[];
}

export const getSummary = (url: string, signal: AbortSignal): Promise<Summary> => getJson(url, signal);
