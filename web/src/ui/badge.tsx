// A state in a word and a colour; the word says it all.

export type Tone = 'good' | 'warn' | 'bad' | 'busy' | 'quiet';

export function Badge({ tone, children }: { tone: Tone; children: string }) {
  return (
    <span class="badge" data-tone={tone}>
      {children}
    </span>
  );
}

const jobTones: Record<string, Tone> = {
  queued: 'quiet',
  running: 'busy',
  succeeded: 'good',
  failed: 'bad',
  cancelled: 'warn',
  dead: 'bad',
};

const streamTones: Record<string, Tone> = {
  connecting: 'busy',
  live: 'good',
  stalled: 'warn',
  reconnecting: 'warn',
  stopped: 'quiet',
};

export const StreamBadge = ({ state }: { state: string }) => (
  <Badge tone={streamTones[state] ?? 'quiet'}>{state}</Badge>
);

export const JobBadge = ({ state }: { state: string }) => (
  <Badge tone={jobTones[state] ?? 'quiet'}>{state}</Badge>
);
