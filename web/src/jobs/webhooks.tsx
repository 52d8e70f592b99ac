// Who was told that a job has ended, and how each attempt went.

import { hasEnded, listWebhooks, type Job, type Webhook } from '../api/jobs.ts';
import { milliseconds } from '../format.ts';
import { Badge, type Tone } from '../ui/badge.tsx';
import { useEvery, useLoad } from '../ui/load.ts';
import { Loaded } from '../ui/page.tsx';
import { TableCard } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';

const everyMs = 3000; // while one is pending

const tones: Record<Webhook['state'], Tone> = { pending: 'busy', delivered: 'good', failed: 'bad' };

function Delivery({ hook }: { hook: Webhook }) {
  return (
    <>
      <p>
        <Badge tone={tones[hook.state]}>{hook.state}</Badge> <span class="mono">{hook.url}</span>
        {hook.next_attempt_at && (
          <span class="soft">
            {' '}
            next attempt <Time at={hook.next_attempt_at} />
          </span>
        )}
      </p>
      {hook.log.length > 0 && (
        <TableCard label={`Attempts of ${hook.id}`}>
          <thead>
            <tr>
              <th scope="col">Attempt</th>
              <th scope="col">Answer</th>
              <th scope="col" class="end">Took</th>
              <th scope="col">When</th>
            </tr>
          </thead>
          <tbody>
            {hook.log.map(({ attempt, status, error, duration_ms: took, at }) => (
              <tr key={attempt}>
                <th scope="row">{attempt}</th>
                <td>{[status, error].filter((part) => part !== null).join(' · ') || '–'}</td>
                <td class="number end">{milliseconds(took)}</td>
                <td>
                  <Time at={at} />
                </td>
              </tr>
            ))}
          </tbody>
        </TableCard>
      )}
    </>
  );
}

export function Webhooks({ job }: { job: Job }) {
  const ended = hasEnded(job.state);
  const load = useLoad(async (signal) => (ended ? listWebhooks(job.id, signal) : []), [job.id, ended]);
  useEvery(everyMs, () => load.value?.some(({ state }) => state === 'pending') && load.refresh());
  return (
    <section class="card" aria-labelledby="webhooks-title">
      <h2 id="webhooks-title">Webhook</h2>
      <Loaded load={load}>
        {(hooks) =>
          hooks.length > 0 ? (
            <>
              {hooks.map((hook) => (
                <Delivery key={hook.id} hook={hook} />
              ))}
            </>
          ) : (
            <p class="help">{`${job.webhook_url} is told when the job has ended.`}</p>
          )
        }
      </Loaded>
    </section>
  );
}
