// Jobs: videos that are analysed, or wait for it.

import { getJson, withQuery, type ListPage } from './http.ts';

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
