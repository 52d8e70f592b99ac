// The first page: how the server is, and what it has worked on lately.

import { listJobs, type Job } from '../api/jobs.ts';
import { useObserved } from '../observable.ts';
import { EventsNow, StreamsNow } from '../overview/cameras.tsx';
import { Live } from '../overview/live.tsx';
import { health, healthInWords } from '../shell/health.ts';
import { JobBadge } from '../ui/badge.tsx';
import { useEvery, useList } from '../ui/load.ts';
import { Blank, LoadedList, Page } from '../ui/page.tsx';
import { Time } from '../ui/time.tsx';

const everyMs = 5000;

function ServerCard() {
  const { state, ready } = useObserved(health);
  const rows: [string, string | undefined][] = [
    ['State', healthInWords({ state, ready } as Parameters<typeof healthInWords>[0])],
    ['Version', ready?.version],
    ['Runs on', ready?.execution_provider?.toUpperCase()],
    ['Runtime', ready?.runtime && `${ready.runtime.name} ${ready.runtime.version}`],
    ['Workers', ready?.workers?.toString()],
    ['Queue', ready?.queue && `${ready.queue.depth} of ${ready.queue.size}`],
  ];
  return (
    <section class="card" aria-labelledby="server-title">
      <div class="card-head">
        <h2 id="server-title">Server</h2>
      </div>
      <dl class="facts">
        {rows.map(
          ([name, value]) =>
            value && (
              <>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </>
            ),
        )}
      </dl>
    </section>
  );
}

function RecentJobs() {
  const jobs = useList<Job>((cursor, signal) => listJobs({ limit: 6, cursor }, signal), []);
  useEvery(everyMs, jobs.refresh);
  return (
    <section class="card" aria-labelledby="recent-title">
      <div class="card-head">
        <h2 id="recent-title">Recent jobs</h2>
        <a href="/jobs">All jobs</a>
      </div>
      <LoadedList
        list={{ ...jobs, more: false }}
        empty={
          <Blank icon="jobs" title="No jobs yet">
            Videos that are analysed show here.
          </Blank>
        }
      >
        {(items) => (
          <ul class="plain-list">
            {items.map((job) => (
              <li key={job.id}>
                <JobBadge state={job.state} />
                <a class="grow mono" href={`/jobs/${job.id}`}>
                  {job.id.slice(-12)}
                </a>
                <Time at={job.finished_at ?? job.started_at ?? job.created_at} />
              </li>
            ))}
          </ul>
        )}
      </LoadedList>
    </section>
  );
}

export function Overview() {
  return (
    <Page title="Overview" lead="What this server does, and how it is.">
      <Live />
      <div class="columns">
        <StreamsNow />
        <EventsNow />
        <RecentJobs />
        <ServerCard />
      </div>
    </Page>
  );
}
