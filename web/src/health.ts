// How the server is: a light in the header, the facts in the footer.

import { readiness, type Readiness } from './api.ts';
import { byId } from './dom.ts';

const everyMs = 10_000;

const words: Record<string, string> = {
  ready: 'Ready',
  starting: 'Starting',
  draining: 'Stopping',
};

function facts({ version, model, execution_provider, runtime, workers, queue }: Readiness): string {
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

function show(state: Readiness['status'] | 'unreachable', text: string): void {
  byId('health').dataset['state'] = state;
  byId('health-text').textContent = text;
}

async function refresh(): Promise<void> {
  try {
    const ready = await readiness();
    const model = ready.model ? ` · ${ready.model.name}` : '';
    show(ready.status, `${words[ready.status] ?? ready.status}${model}`);
    byId('server-facts').textContent = facts(ready);
  } catch {
    show('unreachable', 'No answer from the server');
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
