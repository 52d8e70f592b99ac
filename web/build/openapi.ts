// openapi.yaml read, proved and turned into the JSON that the server answers.

import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Every JSON media type object with its JSON pointer: `{schema, example, examples}`. */
function* jsonMediaTypes(node: unknown, pointer: string): Generator<[string, Json]> {
  if (!isObject(node)) {
    return;
  }
  for (const [key, value] of Object.entries(node)) {
    const at = `${pointer}/${encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1'))}`;
    if (/^application\/(.+\+)?json$/.test(key) && isObject(value) && 'schema' in value) {
      yield [at, value];
    } else {
      yield* jsonMediaTypes(value, at);
    }
  }
}

/** Examples that break their own schema mislead readers, so they fail the build. */
function checkExamples(document: Json): string[] {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
  ajv.addSchema(document, 'openapi');
  const problems: string[] = [];
  for (const [pointer, media] of jsonMediaTypes(document, '')) {
    const valid = ajv.compile({ $ref: `openapi#${pointer}/schema` });
    const named = isObject(media['examples'])
      ? Object.values(media['examples']).map((entry) => (entry as Json)['value'])
      : [];
    const examples = 'example' in media ? [media['example'], ...named] : named;
    for (const example of examples) {
      if (!valid(example)) {
        problems.push(`${decodeURIComponent(pointer)}: example: ${ajv.errorsText(valid.errors)}`);
      }
    }
  }
  return problems;
}

/** Reads, validates and returns the document; throws with every problem found. */
export async function loadOpenapi(file: string): Promise<string> {
  const document = parse(readFileSync(file, 'utf8')) as Json;
  // A copy, because the validator replaces each $ref by what it leads to (or refuses it).
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  if (!valid) {
    throw new Error(`${file} is not valid OpenAPI:\n${JSON.stringify(errors, null, 2)}`);
  }
  const problems = checkExamples(document);
  if (problems.length > 0) {
    throw new Error(`${file}:\n${problems.join('\n')}`);
  }
  return JSON.stringify(document);
}
