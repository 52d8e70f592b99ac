// Who did what.

import { useEffect, useState } from 'preact/hooks';
import { auditExport, listAudit, type AuditFilter, type AuditRow } from '../api/server.ts';
import { withQuery } from '../api/http.ts';
import { dateTime } from '../format.ts';
import { go } from '../router.ts';
import { Badge, type Tone } from '../ui/badge.tsx';
import { SelectField, TextField } from '../ui/field.tsx';
import { Icon } from '../ui/icon.tsx';
import { useList } from '../ui/load.ts';
import { Blank, LoadedList, Page } from '../ui/page.tsx';
import { TableCard } from '../ui/table.tsx';

const times = [
  ['', 'ever'],
  ['1h', 'the last hour'],
  ['24h', 'the last day'],
  ['7d', 'the last week'],
  ['30d', 'the last 30 days'],
] as const;

const kinds = [
  ['', 'any'],
  ['auth.', 'signing in'],
  ['user.', 'users'],
  ['key.', 'keys'],
  ['model.', 'models'],
  ['video.', 'videos'],
  ['job.', 'jobs'],
] as const;

const tones: Record<AuditRow['result'], Tone> = { ok: 'good', refused: 'warn', failed: 'bad' };

function Filters({ filter }: { filter: AuditFilter }) {
  const [actor, setActor] = useState(filter.actor ?? '');
  useEffect(() => setActor(filter.actor ?? ''), [filter.actor]);
  const set = (change: AuditFilter): void =>
    go(withQuery('/audit', { ...filter, ...change } as Record<string, string>), { replace: true });
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        set({ actor: actor.trim() });
      }}
    >
      <SelectField
        label="Since"
        value={(filter.since ?? '') as (typeof times)[number][0]}
        options={times}
        onChange={(since) => set({ since })}
      />
      <SelectField
        label="Action"
        value={(filter.action ?? '') as (typeof kinds)[number][0]}
        options={kinds}
        onChange={(action) => set({ action })}
      />
      <TextField label="User" type="search" value={actor} onInput={setActor} placeholder="anybody" />
      <button class="button" type="submit">
        Filter
      </button>
    </form>
  );
}

function who({ actor, actor_kind: kind, actor_key: key }: AuditRow): string {
  return [actor || kind, key && `key ${key}`].filter(Boolean).join(', ');
}

function Row({ row }: { row: AuditRow }) {
  return (
    <tr>
      <td class="number">
        <time dateTime={row.at}>{dateTime(row.at)}</time>
      </td>
      <td>{who(row)}</td>
      <th scope="row" class="mono">
        {row.action}
      </th>
      <td class="mono clip-cell" title={row.object}>
        {row.object || '–'}
      </td>
      <td>
        <Badge tone={tones[row.result]}>{row.result}</Badge>
      </td>
      <td class="mono clip-cell" title={row.details}>
        {row.details === '{}' || row.details === '' ? '–' : row.details}
      </td>
      <td class="mono">{row.address || '–'}</td>
    </tr>
  );
}

export function Audit({ query }: { query: URLSearchParams }) {
  const filter: AuditFilter = {
    since: query.get('since') ?? '',
    action: query.get('action') ?? '',
    actor: query.get('actor') ?? '',
  };
  const list = useList<AuditRow>((cursor, signal) => listAudit(filter, cursor, signal), [query.toString()]);
  return (
    <Page
      title="Audit"
      lead="Who did what, the newest first. Rows are chained by hash: nexus audit verify proves that none was changed."
      actions={
        <>
          <a class="button" href={auditExport(filter, 'csv')} download="audit.csv">
            <Icon name="download" /> CSV
          </a>
          <a class="button" href={auditExport(filter, 'ndjson')} download="audit.ndjson">
            <Icon name="download" /> NDJSON
          </a>
        </>
      }
    >
      <Filters filter={filter} />
      <LoadedList
        list={list}
        empty={
          <Blank icon="audit" title="Nothing of this kind was done">
            Other filters may show more.
          </Blank>
        }
      >
        {(items) => (
          <TableCard label="Audit log">
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">Who</th>
                <th scope="col">What</th>
                <th scope="col">On</th>
                <th scope="col">Result</th>
                <th scope="col">Details</th>
                <th scope="col">From</th>
              </tr>
            </thead>
            <tbody>
              {items.map((row) => (
                <Row key={row.seq} row={row} />
              ))}
            </tbody>
          </TableCard>
        )}
      </LoadedList>
    </Page>
  );
}
