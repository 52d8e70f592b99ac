// What each kind of rule asks for (docs/events.md).

import type { Rule, RuleKind } from '../api/streams.ts';
import type { Shapes } from '../video/zone_editor.tsx';

export type NumberMember = 'seconds' | 'over' | 'until' | 'hold' | 'confidence' | 'cooldown';

export interface KindForm {
  words: string;
  line?: boolean;
  zone?: 'needed' | 'may be';
  numbers: NumberMember[];
  needed: NumberMember[];
  classes: boolean;
}

export const kindForms: Record<RuleKind, KindForm> = {
  line_crossed: { words: 'a line is crossed', line: true, numbers: ['cooldown'], needed: [], classes: true },
  zone_entered: { words: 'a zone is entered', zone: 'needed', numbers: ['cooldown'], needed: [], classes: true },
  zone_left: { words: 'a zone is left', zone: 'needed', numbers: ['cooldown'], needed: [], classes: true },
  loitering: { words: 'something stays in a zone', zone: 'needed', numbers: ['seconds', 'cooldown'], needed: ['seconds'], classes: true },
  count_over: { words: 'there are too many', zone: 'may be', numbers: ['over', 'until', 'hold'], needed: ['over'], classes: true },
  object_appeared: { words: 'something appears', zone: 'may be', numbers: ['confidence', 'cooldown'], needed: [], classes: true },
  camera_lost: { words: 'the camera is lost', numbers: ['seconds'], needed: [], classes: false },
};

export const numberForms: Record<NumberMember, { label: string; placeholder: string; max?: number }> = {
  seconds: { label: 'Seconds', placeholder: '10' },
  over: { label: 'More than', placeholder: '' },
  until: { label: 'Over again at', placeholder: 'the same' },
  hold: { label: 'For so many seconds', placeholder: '1' },
  confidence: { label: 'Least confidence', placeholder: 'any', max: 1 },
  cooldown: { label: 'Then silent for, in seconds', placeholder: '0' },
};

/** Only what its kind has: the rest stays from when it was another kind. */
export function pruned(rule: Rule): Rule {
  const form = kindForms[rule.kind];
  const { name, kind, line, direction, zone, classes } = rule;
  const numbers = form.numbers.flatMap((member) => (rule[member] === undefined ? [] : [[member, rule[member]]]));
  return {
    name: name.trim(),
    kind,
    ...(form.line && line && { line }),
    ...(form.line && direction && { direction }),
    ...(form.zone && zone && { zone }),
    ...(form.classes && classes?.length && { classes }),
    ...(Object.fromEntries(numbers) as Partial<Rule>),
  };
}

/** Rules go with their zones and lines when these get other names. */
export function renamed(rules: readonly Rule[], before: Shapes, after: Shapes): Rule[] {
  const names = (kind: 'zones' | 'lines'): Map<string, string> =>
    before[kind].length === after[kind].length
      ? new Map(before[kind].map(({ name }, i) => [name, after[kind][i]?.name ?? name]))
      : new Map();
  const zones = names('zones');
  const lines = names('lines');
  return rules.map((rule) => ({
    ...rule,
    ...(rule.zone !== undefined && { zone: zones.get(rule.zone) ?? rule.zone }),
    ...(rule.line !== undefined && { line: lines.get(rule.line) ?? rule.line }),
  }));
}
