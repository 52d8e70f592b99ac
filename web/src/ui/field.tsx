// Fields of forms, each with its label.

import { useRef } from 'preact/hooks';

let ids = 0;

/** An id for a label to name, the same as long as the component is there. */
export function useId(): string {
  return useRef(`field-${++ids}`).current;
}

export function TextField(props: {
  label: string;
  value: string;
  onInput: (value: string) => void;
  type?: 'text' | 'password' | 'search';
  help?: string;
  autocomplete?: string;
  required?: boolean;
  maxLength?: number;
  placeholder?: string;
}) {
  const id = useId();
  const { type = 'text', help } = props;
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
        aria-describedby={help ? `${id}-help` : undefined}
        placeholder={props.placeholder ?? ''}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
      {help && (
        <p class="help" id={`${id}-help`}>
          {help}
        </p>
      )}
    </div>
  );
}

export function SelectField<T extends string>(props: {
  label: string;
  value: T;
  options: readonly (readonly [value: T, text: string])[];
  onChange: (value: T) => void;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <select id={id} value={props.value} onChange={(event) => props.onChange(event.currentTarget.value as T)}>
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}
