// Prometheus' text, read; and what two readings of it say about the time between them.

export interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const label = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const unescape = (text: string): string => text.replace(/\\(.)/g, (_, one: string) => (one === 'n' ? '\n' : one));

export function parse(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const row of text.split('\n')) {
    const found = row.startsWith('#') ? null : line.exec(row);
    if (found) {
      const labels: Record<string, string> = {};
      for (const [, key = '', value = ''] of (found[2] ?? '').matchAll(label)) {
        labels[key] = unescape(value);
      }
      const [, name = '', , value = ''] = found;
      samples.push({ name, labels, value: value === '+Inf' ? Infinity : Number(value) });
    }
  }
  return samples;
}

type Want = (labels: Sample['labels']) => boolean;
const any: Want = () => true;

/** The sum of a metric's series. */
export function sum(samples: readonly Sample[], name: string, want: Want = any): number {
  return samples.reduce((total, { name: other, labels, value }) => total + (other === name && want(labels) ? value : 0), 0);
}

/** A histogram's buckets by their upper edge: how many are at most that. */
function buckets(samples: readonly Sample[], name: string, want: Want): Map<number, number> {
  const edges = new Map<number, number>();
  for (const { name: other, labels, value } of samples) {
    if (other === `${name}_bucket` && want(labels)) {
      const edge = labels['le'] === '+Inf' ? Infinity : Number(labels['le']);
      edges.set(edge, (edges.get(edge) ?? 0) + value);
    }
  }
  return edges;
}

/**
 * The value below which `share` of what came between two readings lies, as Prometheus'
 * histogram_quantile has it: even within a bucket. null: nothing came.
 */
export function quantile(
  before: readonly Sample[],
  after: readonly Sample[],
  name: string,
  share: number,
  want: Want = any,
): number | null {
  const old = buckets(before, name, want);
  const edges = [...buckets(after, name, want)].map(([edge, value]) => [edge, value - (old.get(edge) ?? 0)] as const);
  edges.sort(([a], [b]) => a - b);
  const total = edges.at(-1)?.[1] ?? 0;
  if (total <= 0) {
    return null;
  }
  const rank = share * total;
  let lower = 0;
  let below = 0;
  for (const [edge, upTo] of edges) {
    if (upTo >= rank) {
      return edge === Infinity ? lower : lower + ((edge - lower) * (rank - below)) / (upTo - below || 1);
    }
    lower = edge;
    below = upTo;
  }
  return lower;
}

/** What the overview shows of a moment. */
export interface Moment {
  at: number; // seconds since 1970
  requests: number; // a second
  pictures: number; // a second, through a model
  p50: number | null; // seconds, of inference requests
  p95: number | null;
  queue: number;
  hitRate: number | null; // 0 to 1, of predictions; null: nobody looked
}

const isInference: Want = ({ route }) => /^\/api\/v1\/inference\/|\/infer$/.test(route ?? '');

/** null: the server has begun anew between the readings, or another process has answered. */
export function momentOf(
  before: readonly Sample[],
  after: readonly Sample[],
  seconds: number,
  at: number,
): Moment | null {
  const grown = (name: string, want?: Want): number => sum(after, name, want) - sum(before, name, want);
  const requests = grown('http_requests_total');
  const pictures = grown('inference_stage_duration_seconds_count', ({ stage }) => stage === 'inference');
  if (requests < 0 || pictures < 0 || seconds <= 0) {
    return null;
  }
  const isPrediction: Want = ({ cache }) => cache === 'predictions';
  const looks = grown('cache_requests_total', isPrediction);
  const misses = grown(
    'cache_requests_total',
    (labels) => isPrediction(labels) && (labels['result'] === 'miss' || labels['result'] === 'error'),
  );
  return {
    at,
    requests: requests / seconds,
    pictures: pictures / seconds,
    p50: quantile(before, after, 'http_request_duration_seconds', 0.5, isInference),
    p95: quantile(before, after, 'http_request_duration_seconds', 0.95, isInference),
    queue: sum(after, 'inference_queue_depth'),
    hitRate: looks > 0 ? (looks - misses) / looks : null,
  };
}
