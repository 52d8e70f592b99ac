// Fields of forms, each with its label.

import { useRef } from 'preact/hooks';

let ids = 0;

/** An id for a label to name, the same as long as the component is there. */
export function useId(): string {
  return useRef(`field-${++ids}`).current;
}

/** What the server said of a field, for its aria-describedby. */
function Wrong({ id, text }: { id: string; text: string | undefined }) {
  return text ? (
    <p class="problem-line" id={`${id}-wrong`}>
      {text}
    </p>
  ) : null;
}

export function TextField(props: {
  label: string;
  value: string;
  onInput: (value: string) => void;
  type?: 'text' | 'password' | 'search' | 'number' | 'time' | 'datetime-local';
  help?: string;
  wrong?: string | undefined; // what the server said of it
  autocomplete?: string;
  required?: boolean;
  maxLength?: number;
  placeholder?: string;
  list?: readonly string[]; // what it may be, among others
  min?: number;
  max?: number;
  onChange?: (value: string) => void; // it is left
}) {
  const id = useId();
  const { type = 'text', help, wrong, list, onChange } = props;
  const described = [help && `${id}-help`, wrong && `${id}-wrong`].filter(Boolean).join(' ');
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        id={id}
        type={type}
        value={props.value}
        required={props.required ?? false}
        maxLength={props.maxLength ?? 1024}
        autocomplete={(props.autocomplete ?? 'off') as 'off'}
        autocapitalize="none"
        spellcheck={false}
        aria-describedby={described || undefined}
        aria-invalid={wrong ? true : undefined}
        placeholder={props.placeholder ?? ''}
        list={list ? `${id}-list` : undefined}
        {...(type === 'number' && { step: 'any', min: props.min, max: props.max })}
        onInput={(event) => props.onInput(event.currentTarget.value)}
        onChange={onChange && ((event) => onChange(event.currentTarget.value))}
      />
      {list && (
        <datalist id={`${id}-list`}>
          {list.map((value) => (
            <option key={value} value={value} />
          ))}
        </datalist>
      )}
      {help && (
        <p class="help" id={`${id}-help`}>
          {help}
        </p>
      )}
      <Wrong id={id} text={wrong} />
    </div>
  );
}

export function SelectField<T extends string>(props: {
  label: string;
  value: T;
  options: readonly (readonly [value: T, text: string])[];
  onChange: (value: T) => void;
  wrong?: string | undefined;
  required?: boolean;
}) {
  const id = useId();
  const { wrong } = props;
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <select
        id={id}
        value={props.value}
        required={props.required ?? false}
        aria-describedby={wrong ? `${id}-wrong` : undefined}
        aria-invalid={wrong ? true : undefined}
        onChange={(event) => props.onChange(event.currentTarget.value as T)}
      >
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
      <Wrong id={id} text={wrong} />
    </div>
  );
}
