// Classes of a model, chosen one by one; none is all of them.

import { getModel, listModels, type ModelInfo } from '../api/models.ts';
import type { ClassNames } from '../api/streams.ts';
import { useId } from '../ui/field.tsx';
import { Icon } from '../ui/icon.tsx';
import { useList, useLoad } from '../ui/load.ts';

/** As options have them: a list, or names with commas between. */
export const classList = (classes: ClassNames | string | undefined): ClassNames =>
  typeof classes === 'string'
    ? classes.split(',').map((name) => name.trim()).filter(Boolean)
    : (classes ?? []);

/** The detectors that may be used. */
export const useDetectors = (): ModelInfo[] =>
  (useList<ModelInfo>(listModels, []).value ?? []).filter(({ kind }) => kind === 'detector');

/** What a model knows: NAME, NAME:VERSION, or '' for the default one; none while it is not known. */
export function useClasses(detectors: readonly ModelInfo[], model: string): string[] {
  const name = model.split(':')[0] || detectors.find((other) => other.default)?.name;
  const load = useLoad(async (signal) => (name ? getModel(name, signal) : null), [name]);
  return load.value?.classes ?? [];
}

export function ClassesField(props: {
  label: string;
  chosen: ClassNames;
  known: readonly string[];
  wrong?: string | undefined;
  onChange: (classes: ClassNames) => void;
}) {
  const id = useId();
  const { chosen, known, onChange } = props;
  const rest = known.filter((name) => !chosen.includes(name));
  const add = (name: string): void => onChange([...chosen, name]);
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      {chosen.length > 0 && (
        <ul class="class-chips">
          {chosen.map((name) => (
            <li key={name}>
              {name}
              <button
                type="button"
                aria-label={`Without ${name}`}
                onClick={() => onChange(chosen.filter((other) => other !== name))}
              >
                <Icon name="close" />
              </button>
            </li>
          ))}
        </ul>
      )}
      {known.length > 0 ? (
        <select
          id={id}
          value=""
          aria-invalid={props.wrong ? true : undefined}
          onChange={(event) => {
            if (event.currentTarget.value) {
              add(event.currentTarget.value);
              event.currentTarget.value = '';
            }
          }}
        >
          <option value="">{chosen.length === 0 ? 'all' : 'and …'}</option>
          {rest.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      ) : (
        <input
          id={id}
          type="text"
          placeholder="all; a name and Enter"
          onKeyDown={(event) => {
            const name = event.currentTarget.value.trim();
            if (event.key === 'Enter' && name) {
              event.preventDefault();
              event.currentTarget.value = '';
              add(name);
            }
          }}
        />
      )}
      {props.wrong && <p class="problem-line">{props.wrong}</p>}
    </div>
  );
}
