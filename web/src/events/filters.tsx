// What is looked for: it stands in the address, so that it can be shared and gone back to.

import { useEffect, useState } from 'preact/hooks';
import { eventKinds, kindWords, type EventFilter } from '../api/events.ts';
import { withQuery } from '../api/http.ts';
import type { Stream } from '../api/streams.ts';
import { go } from '../router.ts';
import { SelectField, TextField } from '../ui/field.tsx';
import { Icon } from '../ui/icon.tsx';

const spans = [
  ['', 'ever'],
  ['1h', 'the last hour'],
  ['24h', 'the last day'],
  ['7d', 'the last week'],
  ['30d', 'the last 30 days'],
  ['between', 'between …'],
] as const;
type Span = (typeof spans)[number][0];

const isSpan = (since: string): since is Span => spans.some(([value]) => value === since);

export const addressOf = (filter: EventFilter): string => withQuery('/events', { ...filter });

/** 2026-01-31T12:00 of the visitor's clock, as <input type=datetime-local> has it. */
function localOf(time: string): string {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) {
    return '';
  }
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
const timeOf = (local: string): string => (local ? new Date(local).toISOString().replace('.000Z', 'Z') : '');

/** A field that is taken when it is left, or Enter is pressed. */
function Word(props: { label: string; value: string; known: readonly string[]; onDone: (value: string) => void }) {
  const [text, setText] = useState(props.value);
  useEffect(() => setText(props.value), [props.value]);
  return (
    <TextField
      label={props.label}
      type="search"
      value={text}
      list={props.known}
      placeholder="any"
      onInput={setText}
      onChange={(value) => props.onDone(value.trim())}
    />
  );
}

export function Filters(props: { filter: EventFilter; streams: readonly Stream[]; classes: readonly string[] }) {
  const { filter, streams } = props;
  const [between, setBetween] = useState(false);
  const set = (change: Partial<EventFilter>): void => {
    const to = addressOf({ ...filter, ...change });
    if (to !== location.pathname + location.search) {
      go(to);
    }
  };
  const ranged = between || filter.until !== '' || !isSpan(filter.since);
  const of = streams.filter(({ id }) => !filter.stream || id === filter.stream);
  const places = [...new Set(of.flatMap(({ options: { zones = [], lines = [] } }) => [...zones, ...lines].map(({ name }) => name)))];
  const gone = filter.stream && !streams.some(({ id }) => id === filter.stream);
  const any = Object.values(filter).some(Boolean);
  return (
    <form
      class="filters event-filters"
      role="search"
      aria-label="Events"
      onSubmit={(event) => {
        event.preventDefault();
        (document.activeElement as HTMLElement | null)?.blur(); // takes the field that is being written in
      }}
    >
      <SelectField
        label="Stream"
        value={filter.stream}
        options={[
          ['', 'all'],
          ...streams.map(({ id, name }) => [id, name] as const),
          ...(gone ? [[filter.stream, 'one that is gone'] as const] : []),
        ]}
        onChange={(stream) => set({ stream })}
      />
      <SelectField
        label="Kind"
        value={filter.kind}
        options={[['', 'any'], ...eventKinds.map((kind) => [kind, kindWords[kind]] as const)]}
        onChange={(kind) => set({ kind })}
      />
      <Word label="Class" value={filter.class} known={props.classes} onDone={(value) => set({ class: value })} />
      <Word label="Zone or line" value={filter.place} known={places} onDone={(place) => set({ place })} />
      <SelectField<Span>
        label="When"
        value={ranged ? 'between' : (filter.since as Span)}
        options={spans}
        onChange={(span) => {
          setBetween(span === 'between');
          if (span !== 'between') {
            set({ since: span, until: '' });
          }
        }}
      />
      {ranged && (
        <>
          <TextField
            label="From"
            type="datetime-local"
            value={isSpan(filter.since) ? '' : localOf(filter.since)}
            onInput={() => {}}
            onChange={(from) => set({ since: timeOf(from) })}
          />
          <TextField
            label="Until"
            type="datetime-local"
            value={localOf(filter.until)}
            onInput={() => {}}
            onChange={(until) => set({ until: timeOf(until) })}
          />
        </>
      )}
      {any && (
        <a class="button" href="/events" onClick={() => setBetween(false)}>
          <Icon name="close" /> Show all
        </a>
      )}
    </form>
  );
}
