// The rules of a stream: what makes events. Their choices are the zones, lines and classes there are.

import { ruleKinds, type Rule, type RuleKind } from '../api/streams.ts';
import { SelectField, TextField } from '../ui/field.tsx';
import { Icon } from '../ui/icon.tsx';
import type { Shapes } from '../video/zone_editor.tsx';
import { classList, ClassesField } from './classes.tsx';
import { kindForms, numberForms, type NumberMember } from './rule_kinds.ts';

const most = 64;

export interface RuleProblem {
  index: number | null;
  member: string;
  text: string;
}

const kinds = ruleKinds.map((kind) => [kind, kindForms[kind].words] as const);
const directions = [
  ['both', 'either way'],
  ['in', 'in'],
  ['out', 'out'],
] as const;

/** The names there are, with the one that is chosen though it is gone. */
function placeOptions(names: readonly string[], chosen: string, none: string): (readonly [string, string])[] {
  const gone = chosen && !names.includes(chosen) ? [[chosen, `${chosen} (is not there)`] as const] : [];
  return [['', none], ...names.map((name) => [name, name] as const), ...gone];
}

function RuleFields(props: {
  rule: Rule;
  shapes: Shapes;
  classes: readonly string[];
  wrong: (member: string) => string | undefined;
  onChange: (change: Partial<Rule>) => void;
}) {
  const { rule, shapes, wrong, onChange } = props;
  const form = kindForms[rule.kind];
  const number = (member: NumberMember) => {
    const { label, placeholder, max } = numberForms[member];
    return (
      <TextField
        key={member}
        label={label}
        type="number"
        min={0}
        {...(max !== undefined && { max })}
        required={form.needed.includes(member)}
        placeholder={member === 'cooldown' && rule.kind === 'object_appeared' ? '10' : placeholder}
        value={rule[member]?.toString() ?? ''}
        onInput={(text) => onChange({ [member]: text === '' ? undefined : Number(text) })}
        wrong={wrong(member)}
      />
    );
  };
  return (
    <div class="rule-fields">
      {form.line && (
        <>
          <SelectField
            label="Line"
            required
            value={rule.line ?? ''}
            options={placeOptions(shapes.lines.map(({ name }) => name), rule.line ?? '', 'choose one')}
            onChange={(line) => onChange({ line })}
            wrong={wrong('line')}
          />
          <SelectField
            label="Direction"
            value={rule.direction ?? 'both'}
            options={directions}
            onChange={(direction) => onChange({ direction })}
            wrong={wrong('direction')}
          />
        </>
      )}
      {form.zone && (
        <SelectField
          label="Zone"
          required={form.zone === 'needed'}
          value={rule.zone ?? ''}
          options={placeOptions(shapes.zones.map(({ name }) => name), rule.zone ?? '', form.zone === 'needed' ? 'choose one' : 'anywhere')}
          onChange={(zone) => onChange({ zone })}
          wrong={wrong('zone')}
        />
      )}
      {form.numbers.map(number)}
      {form.classes && (
        <ClassesField
          label="Classes"
          chosen={classList(rule.classes)}
          known={props.classes}
          onChange={(classes) => onChange({ classes })}
          wrong={wrong('classes')}
        />
      )}
    </div>
  );
}

function RuleRow(props: {
  rule: Rule;
  number: number;
  shapes: Shapes;
  classes: readonly string[];
  problem: RuleProblem | null;
  onChange: (rule: Rule) => void;
  onRemove: () => void;
}) {
  const { rule, number, problem, onChange } = props;
  const shown = ['name', 'kind', 'line', 'direction', 'zone', 'classes', ...kindForms[rule.kind].numbers];
  const wrong = (member: string): string | undefined => (problem?.member === member ? problem.text : undefined);
  return (
    <li class="rule">
      <fieldset>
        <legend class="sr-only">Rule {number}</legend>
        <div class="rule-head">
          <TextField label="Name" required maxLength={64} value={rule.name} onInput={(name) => onChange({ ...rule, name })} wrong={wrong('name')} />
          <SelectField
            label="When"
            value={rule.kind}
            options={kinds}
            onChange={(kind: RuleKind) => onChange({ ...rule, kind })}
            wrong={wrong('kind')}
          />
          <button class="icon-button" type="button" aria-label={`Remove rule ${rule.name || number}`} onClick={props.onRemove}>
            <Icon name="trash" />
          </button>
        </div>
        <RuleFields
          rule={rule}
          shapes={props.shapes}
          classes={props.classes}
          wrong={wrong}
          onChange={(change) => onChange({ ...rule, ...change } as Rule)}
        />
        {problem && !shown.includes(problem.member) && <p class="problem-line">{problem.text}</p>}
      </fieldset>
    </li>
  );
}

function freshRule(rules: readonly Rule[], { zones, lines }: Shapes): Rule {
  const names = new Set(rules.map(({ name }) => name));
  let number = rules.length + 1;
  while (names.has(`Rule ${number}`)) {
    number += 1;
  }
  const name = `Rule ${number}`;
  const [line] = lines;
  const [zone] = zones;
  if (line) {
    return { name, kind: 'line_crossed', line: line.name };
  }
  return zone ? { name, kind: 'zone_entered', zone: zone.name } : { name, kind: 'object_appeared' };
}

export function RuleList(props: {
  rules: readonly Rule[];
  shapes: Shapes;
  classes: readonly string[];
  problem: RuleProblem | null;
  onChange: (rules: Rule[]) => void;
}) {
  const { rules, shapes, problem, onChange } = props;
  return (
    <>
      {rules.length === 0 && <p class="help">None yet: nothing of this camera becomes an event.</p>}
      <ul class="rules">
        {rules.map((rule, i) => (
          <RuleRow
            key={i}
            rule={rule}
            number={i + 1}
            shapes={shapes}
            classes={props.classes}
            problem={problem?.index === i ? problem : null}
            onChange={(changed) => onChange(rules.map((old, j) => (j === i ? changed : old)))}
            onRemove={() => onChange(rules.filter((_, j) => j !== i))}
          />
        ))}
      </ul>
      {rules.length < most && (
        <div class="actions">
          <button class="button" type="button" onClick={() => onChange([...rules, freshRule(rules, shapes)])}>
            <Icon name="plus" /> Add a rule
          </button>
        </div>
      )}
    </>
  );
}
