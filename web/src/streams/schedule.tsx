// When a stream is watched: days and hours, as many as are wanted.

import { days, type Day, type ScheduleRow } from '../api/streams.ts';
import { TextField } from '../ui/field.tsx';
import { Icon } from '../ui/icon.tsx';

const most = 16;
const fresh: ScheduleRow = { days: ['mon', 'tue', 'wed', 'thu', 'fri'], from: '08:00', to: '18:00' };

function Row(props: {
  row: ScheduleRow;
  number: number;
  wrong: string | undefined;
  onChange: (row: ScheduleRow) => void;
  onRemove: () => void;
}) {
  const { row, number } = props;
  const chosen = row.days ?? days;
  const set = (day: Day, on: boolean): void =>
    props.onChange({ ...row, days: days.filter((other) => (other === day ? on : chosen.includes(other))) });
  return (
    <fieldset class="schedule-row">
      <legend class="sr-only">Time {number}</legend>
      <div class="day-checks">
        {days.map((day) => (
          <label key={day} class="check">
            <input
              type="checkbox"
              checked={chosen.includes(day)}
              onChange={(event) => set(day, event.currentTarget.checked)}
            />
            {day}
          </label>
        ))}
      </div>
      <div class="schedule-hours">
        <TextField label="From" type="time" required value={row.from ?? '00:00'} onInput={(from) => props.onChange({ ...row, from })} />
        <TextField label="To" type="time" required value={row.to ?? '00:00'} onInput={(to) => props.onChange({ ...row, to })} />
        <button class="icon-button" type="button" aria-label={`Remove time ${number}`} onClick={props.onRemove}>
          <Icon name="trash" />
        </button>
      </div>
      {props.wrong && <p class="problem-line">{props.wrong}</p>}
    </fieldset>
  );
}

export function ScheduleField(props: {
  rows: readonly ScheduleRow[];
  wrong: { index: number | null; text: string } | undefined;
  onChange: (rows: ScheduleRow[]) => void;
}) {
  const { rows, wrong, onChange } = props;
  return (
    <fieldset class="field">
      <legend>Schedule</legend>
      <p class="help">
        {rows.length === 0
          ? 'It is watched always.'
          : 'By the server’s local time. An end that is not after its beginning is one of the next day.'}
      </p>
      {rows.map((row, i) => (
        <Row
          key={i}
          row={row}
          number={i + 1}
          wrong={wrong?.index === i ? wrong.text : undefined}
          onChange={(changed) => onChange(rows.map((old, j) => (j === i ? changed : old)))}
          onRemove={() => onChange(rows.filter((_, j) => j !== i))}
        />
      ))}
      {wrong && wrong.index === null && <p class="problem-line">{wrong.text}</p>}
      {rows.length < most && (
        <div class="actions">
          <button class="button small" type="button" onClick={() => onChange([...rows, fresh])}>
            <Icon name="plus" /> Add a time
          </button>
        </div>
      )}
    </fieldset>
  );
}
