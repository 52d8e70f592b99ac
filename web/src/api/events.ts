// Events: what happened before cameras, by the rules of their streams.

import { getJson, send, withQuery, type ListPage } from './http.ts';

export const eventKinds = [
  'line_crossed',
  'zone_entered',
  'zone_left',
  'loitering',
  'count_over',
  'count_back',
  'object_appeared',
  'camera_lost',
  'camera_back',
] as const;
export type EventKind = (typeof eventKinds)[number];

export const kindWords: Record<EventKind, string> = {
  line_crossed: 'line crossed',
  zone_entered: 'zone entered',
  zone_left: 'zone left',
  loitering: 'loitering',
  count_over: 'too many',
  count_back: 'no more too many',
  object_appeared: 'object appeared',
  camera_lost: 'camera lost',
  camera_back: 'camera back',
};

export interface EventDetails {
  box?: { x1: number; y1: number; x2: number; y2: number };
  confidence?: number;
  direction?: string;
  duration_s?: number;
  count?: number;
  silent?: number;
}

export interface StreamEvent {
  id: string;
  number: number;
  stream: { id: string; name: string };
  kind: EventKind;
  rule: string;
  class_name: string | null;
  track_id: number | null;
  place: string | null; // a zone or line
  at: string;
  details: EventDetails;
  snapshot: string | null; // where its picture is
  clip: string | null; // and its clip
  clip_offset?: number | null; // seconds from the clip's start to the event
  created_at: string;
}

/** What is looked for; each an empty text for anything. */
export interface EventFilter {
  stream: string; // its id
  kind: string;
  class: string;
  place: string;
  rule: string;
  since: string; // a time, or so long ago: 24h
  until: string;
}

export const anything: EventFilter = { stream: '', kind: '', class: '', place: '', rule: '', since: '', until: '' };

const base = '/api/v1/events';
const path = (id: string, rest = ''): string => `${base}/${encodeURIComponent(id)}${rest}`;

export const listEvents = (
  filter: Partial<EventFilter>,
  cursor: string | null,
  signal: AbortSignal,
  limit = 24,
): Promise<ListPage<StreamEvent>> => getJson(withQuery(base, { ...filter, cursor, limit }), signal);

export const getEvent = (id: string, signal?: AbortSignal): Promise<StreamEvent> => getJson(path(id), signal ?? null);

export async function removeEvent(id: string): Promise<void> {
  await send('DELETE', path(id));
}

export interface Delivery {
  id: string;
  url: string;
  state: 'pending' | 'delivered' | 'failed';
  attempts: number;
  next_attempt_at: string | null;
  created_at: string;
  finished_at: string | null;
  log: { attempt: number; status: number | null; error: string | null; duration_ms: number; at: string }[];
}

export const listDeliveries = (id: string, signal: AbortSignal): Promise<{ items: Delivery[] }> =>
  getJson(path(id, '/deliveries'), signal);

/** Tells each event as it happens, of one stream or all. onOpen: from now on none is missed. */
export function followEvents(
  stream: string | null,
  { onEvent, onOpen, onGone }: { onEvent: (event: StreamEvent) => void; onOpen: () => void; onGone: () => void },
): () => void {
  const source = new EventSource(withQuery(`${base}/stream`, { stream }));
  for (const kind of eventKinds) {
    source.addEventListener(kind, (event: MessageEvent<string>) => onEvent(JSON.parse(event.data) as StreamEvent));
  }
  source.addEventListener('open', onOpen);
  source.addEventListener('error', () => {
    if (source.readyState === EventSource.CLOSED) {
      onGone();
    }
  });
  return () => source.close();
}
