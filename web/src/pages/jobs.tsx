// The jobs, newest first, and how far each has come.

import { hasEnded, jobStates, listJobs, type Job } from '../api/jobs.ts';
import { clock } from '../format.ts';
import { go } from '../router.ts';
import { JobBadge } from '../ui/badge.tsx';
import { useEvery, useList } from '../ui/load.ts';
import { Meter } from '../ui/meter.tsx';
import { Blank, LoadedList, Page } from '../ui/page.tsx';
import { TableCard } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';

const everyMs = 3000;

function Progress({ job: { id, state, progress, error } }: { job: Job }) {
  if (error && state !== 'succeeded') {
    return <span class="clip">{error}</span>;
  }
  if (!progress) {
    return <span class="soft">–</span>;
  }
  const { frames_done: done, frames_total: total } = progress;
  return (
    <div class="job-progress">
      <span class="number">{total && state !== 'succeeded' ? `${done} of ${total} frames` : `${done} frames`}</span>
      {state === 'running' && total !== null && <Meter share={done / total} label={`Progress of ${id}`} />}
    </div>
  );
}

function took({ started_at: from, finished_at: to }: Job): string {
  return from && to ? clock((Date.parse(to) - Date.parse(from)) / 1000) : '–';
}

export function Jobs({ state }: { state: string | null }) {
  const list = useList<Job>((cursor, signal) => listJobs({ limit: 25, cursor, state }, signal), [state]);
  useEvery(everyMs, () => {
    if (list.value?.some((job) => !hasEnded(job.state))) {
      list.refresh();
    }
  });
  return (
    <Page title="Jobs" lead="Videos that are analysed, were, or wait for it.">
      <div class="filters">
        <div class="field">
          <label for="job-state">State</label>
          <select
            id="job-state"
            value={state ?? ''}
            onChange={({ currentTarget: { value } }) => go(value ? `/jobs?state=${value}` : '/jobs', { replace: true })}
          >
            <option value="">all</option>
            {jobStates.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </div>
      </div>
      <LoadedList
        list={list}
        empty={
          <Blank icon="jobs" title={state ? `No job is ${state}` : 'No jobs yet'}>
            {!state && (
              <>
                Choose a video under <a href="/videos">Videos</a>, and have it analysed.
              </>
            )}
          </Blank>
        }
      >
        {(items) => (
          <TableCard label="Jobs">
            <thead>
              <tr>
                <th scope="col">Job</th>
                <th scope="col">State</th>
                <th scope="col">Progress</th>
                <th scope="col">Model</th>
                <th scope="col">Took</th>
                <th scope="col">Submitted</th>
              </tr>
            </thead>
            <tbody>
              {items.map((job) => (
                <tr key={job.id}>
                  <th scope="row">
                    <a class="mono" href={`/jobs/${job.id}`}>
                      {job.id.slice(-12)}
                    </a>
                  </th>
                  <td>
                    <JobBadge state={job.state} />
                  </td>
                  <td>
                    <Progress job={job} />
                  </td>
                  <td>{String(job.options['model'] ?? 'default')}</td>
                  <td class="number">{took(job)}</td>
                  <td>
                    <Time at={job.created_at} />
                  </td>
                </tr>
              ))}
            </tbody>
          </TableCard>
        )}
      </LoadedList>
    </Page>
  );
}
