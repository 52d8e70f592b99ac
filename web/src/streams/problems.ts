// What the server said of a form, by field: its details begin with the field's name, "fps: ...".

import type { Problem } from '../api/http.ts';

export interface FieldProblem {
  field: string; // "": of none
  index: number | null; // of a list
  member: string;
  text: string;
}

export function fieldProblem(problem: Problem | null, known: readonly string[]): FieldProblem | null {
  if (!problem) {
    return null;
  }
  const text = [problem.detail, problem.advice].filter(Boolean).join('. ');
  // "rules: rules[0].zone: there is no ...", "rules[0].until is 5; ...", "fps: ..."
  const item = /\b([a-z_]+)\[(\d+)\](?:\.([a-z_]+))?(?:\[\d+\])*:? (.*)$/s.exec(problem.detail);
  if (item && known.includes(item[1] as string)) {
    return { field: item[1] as string, index: Number(item[2]), member: item[3] ?? '', text: item[4] as string };
  }
  const whole = /^([a-z_]+): (.*)$/s.exec(problem.detail);
  if (whole && known.includes(whole[1] as string)) {
    return { field: whole[1] as string, index: null, member: '', text: whole[2] as string };
  }
  return { field: '', index: null, member: '', text };
}
