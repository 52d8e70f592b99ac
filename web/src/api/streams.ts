// Live streams: cameras that are watched, and what is seen in them as it is seen.

import { getJson, request, send, sendJson, withQuery, type ListPage } from './http.ts';
import type { Detection } from './inference.ts';
import type { Line, Zone } from './videos.ts';

export type StreamState = 'connecting' | 'live' | 'stalled' | 'reconnecting' | 'stopped';

export const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Day = (typeof days)[number];

export interface ScheduleRow {
  days?: Day[]; // without: every day
  from?: string; // HH:MM
  to?: string;
}

export const ruleKinds = [
  'line_crossed',
  'zone_entered',
  'zone_left',
  'loitering',
  'count_over',
  'object_appeared',
  'camera_lost',
] as const;
export type RuleKind = (typeof ruleKinds)[number];

export type ClassNames = (string | number)[];

export interface Rule {
  name: string;
  kind: RuleKind;
  line?: string;
  direction?: 'in' | 'out' | 'both';
  zone?: string;
  seconds?: number;
  over?: number;
  until?: number;
  hold?: number;
  confidence?: number;
  cooldown?: number;
  classes?: ClassNames;
}

export interface StreamOptions {
  model?: string;
  confidence?: number;
  iou?: number;
  classes?: ClassNames | string;
  fps?: number;
  track?: boolean;
  motion_gate?: boolean;
  zones?: Zone[];
  lines?: Line[];
  rules?: Rule[];
  drop?: 'latest' | 'drop_oldest' | 'block';
  transport?: 'auto' | 'tcp' | 'udp';
  schedule?: ScheduleRow[];
}

export interface StreamSource {
  format: string;
  codec: string;
  width: number;
  height: number;
  video?: string | null; // what live.mp4 is, as MediaSource wants to hear it
}

export interface StreamStatus {
  frames_received: number;
  frames_processed: number;
  frames_inferred: number;
  frames_dropped: Record<string, number>;
  fps: number;
  latency_ms: { p50: number; p95: number };
  reconnects: number;
  source: StreamSource | null;
  model: { name: string; version: number } | null;
}

export interface StreamCounts {
  zones: { name: string; inside: number; entries: number; exits: number }[];
  lines: { name: string; in: number; out: number }[];
}

export interface Stream {
  id: string;
  name: string;
  url: string; // with *** for what may be secret
  webhook_url: string | null; // likewise
  webhook_signed: boolean;
  enabled: boolean;
  version: number;
  options: StreamOptions;
  state: StreamState;
  reason: string | null;
  host: string | null;
  here: boolean; // the process that answered runs it
  status: StreamStatus | null;
  counts: StreamCounts | null;
  created_by: string | null;
  created_at: string;
  updated_at: string;
}

/** What is sent takes the place of what there was; null of an option: what it is without. */
export type StreamChange = {
  name?: string;
  url?: string;
  enabled?: boolean;
  webhook_url?: string | null;
  webhook_secret?: string | null;
} & {
  [Key in keyof StreamOptions]?: StreamOptions[Key] | null;
};

const base = '/api/v1/streams';
const path = (id: string, rest = ''): string => `${base}/${encodeURIComponent(id)}${rest}`;

export const listStreams = (
  cursor: string | null,
  signal?: AbortSignal,
  limit = 50,
): Promise<ListPage<Stream>> => getJson(withQuery(base, { cursor, limit }), signal ?? null);

export const getStream = (id: string, signal?: AbortSignal): Promise<Stream> => getJson(path(id), signal ?? null);

export const addStream = (change: StreamChange): Promise<Stream> => sendJson('POST', base, change);

export const changeStream = (id: string, change: StreamChange): Promise<Stream> =>
  sendJson('PATCH', path(id), change);

export async function removeStream(id: string): Promise<void> {
  await send('DELETE', path(id));
}

/** The newest picture. */
export const getPicture = async (id: string, signal: AbortSignal): Promise<Blob> =>
  (await request(path(id, '/frame.jpeg'), { signal })).blob();

export const picturesOf = (id: string): string => path(id, '/live.mjpeg');
export const videoOf = (id: string): string => path(id, '/live.mp4');

export interface StreamObject extends Detection {
  track_id?: number;
  predicted?: boolean;
}

/** What was found in one frame. */
export interface StreamFrame {
  at: string;
  latency_ms: number;
  image: { width: number; height: number }; // whose pixels the boxes are in
  frame: number;
  time: number;
  media_time?: number | null; // seconds on the timeline of live.mp4
  inferred: boolean;
  objects: StreamObject[];
  events?: { type: string; name: string; track_id: number; class_name: string }[];
}

export interface Following {
  onFrame: (frame: StreamFrame) => void;
  onState: (state: { state: StreamState; reason: string | null }) => void;
  /** No connection can be had: it is stopped, or whoever runs it can't be reached. */
  onGone: () => void;
}

/** Tells what is seen in a stream; the browser connects again by itself. The answer ends it. */
export function followStream(id: string, { onFrame, onState, onGone }: Following): () => void {
  const source = new EventSource(path(id, '/events'));
  source.addEventListener('frame', (event: MessageEvent<string>) => onFrame(JSON.parse(event.data) as StreamFrame));
  source.addEventListener('state', (event: MessageEvent<string>) =>
    onState(JSON.parse(event.data) as { state: StreamState; reason: string | null }),
  );
  source.addEventListener('error', () => {
    if (source.readyState === EventSource.CLOSED) {
      onGone();
    }
  });
  return () => source.close();
}
