// How the server is, asked every few seconds while somebody looks.

import { readiness, type Readiness } from '../api/health.ts';
import { observable } from '../observable.ts';

const everyMs = 10_000;

export type Health =
  | { state: 'unknown' | 'unreachable'; ready: null }
  | { state: Readiness['status']; ready: Readiness };

export const health = observable<Health>({ state: 'unknown', ready: null });

async function refresh(): Promise<void> {
  try {
    const ready = await readiness();
    health.set({ state: ready.status, ready });
  } catch {
    health.set({ state: 'unreachable', ready: null });
  }
}

export function refreshHealth(): void {
  void refresh();
}

export function setUpHealth(): void {
  const refreshIfSeen = (): void => {
    if (document.visibilityState === 'visible') {
      void refresh();
    }
  };
  document.addEventListener('visibilitychange', refreshIfSeen);
  window.setInterval(refreshIfSeen, everyMs);
  refreshIfSeen();
}

const words: Record<Health['state'], string> = {
  unknown: 'Asking the server…',
  unreachable: 'No answer from the server',
  ready: 'Ready',
  starting: 'Starting',
  draining: 'Stopping',
};

/** "Ready · yolov8n" */
export const healthInWords = ({ state, ready }: Health): string =>
  [words[state], ready?.model?.name].filter(Boolean).join(' · ');

export function facts({ version, model, execution_provider, runtime, workers, queue }: Readiness): string {
  const input = model && `${model.input_width}×${model.input_height}${model.dynamic ? ' dynamic' : ''}`;
  return [
    `Nexus ${version}`,
    model && `${model.name}, ${input}, ${model.classes} classes`,
    runtime && `${runtime.name} ${runtime.version}${execution_provider ? ` on ${execution_provider.toUpperCase()}` : ''}`,
    workers && `${workers} ${workers === 1 ? 'worker' : 'workers'}`,
    queue && `queue ${queue.depth}/${queue.size}`,
  ]
    .filter(Boolean)
    .join(' · ');
}
