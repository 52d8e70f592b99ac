// Videos, and jobs that analyse them.

import { getJson, send, sendJson, withQuery, type ListPage } from './http.ts';
import type { Job } from './jobs.ts';

export interface VideoInfo {
  container: string;
  codec: string;
  width: number; // upright
  height: number;
  fps: number | null;
  duration_s: number | null;
  frames: number | null;
}

export interface Video {
  id: string;
  name: string;
  size_bytes: number;
  sha256: string;
  video: VideoInfo;
  content: string; // where its bytes are
  created_at: string;
}

export type Spot = [x: number, y: number]; // 0 to 1 of the picture's width and height

export interface Zone {
  name: string;
  polygon: Spot[];
  classes?: (string | number)[];
}

export interface Line {
  name: string;
  from: Spot; // who looks along it sees "in" go from left to right
  to: Spot;
  classes?: (string | number)[];
}

export interface ProcessOptions {
  video_id: string;
  model?: string;
  confidence?: number;
  classes?: (string | number)[];
  stride?: number;
  fps?: number;
  track?: boolean;
  motion_gate?: boolean;
  adaptive_stride?: boolean;
  zones?: Zone[];
  lines?: Line[];
  outputs?: string[];
  counts_every?: number;
}

export const allOutputs = ['frames', 'summary', 'csv', 'coco', 'mot', 'counts', 'heatmap', 'video'];

export const listVideos = (cursor: string | null, signal: AbortSignal): Promise<ListPage<Video>> =>
  getJson(withQuery('/api/v1/videos', { cursor, limit: 25 }), signal);

export const getVideo = (id: string, signal?: AbortSignal): Promise<Video> =>
  getJson(`/api/v1/videos/${encodeURIComponent(id)}`, signal);

export async function removeVideo(id: string): Promise<void> {
  await send('DELETE', `/api/v1/videos/${encodeURIComponent(id)}`);
}

export const processVideo = (options: ProcessOptions): Promise<Job> =>
  sendJson('POST', '/api/v1/videos/process', options);
