// Values by JSON Schema: such that fit, by their bounds and patterns, and such that spoil what fits.

const hex = (random, count) => Array.from({ length: count }, () => random.below(16).toString(16)).join('');
const uuid = (random) => [8, 4, 4, 4, 12].map((count) => hex(random, count)).join('-');

/** What no schema here asks for, or only by mistake. */
export const STRANGE = [
  null, true, false, 0, -1, 1.5, -0.0, 2 ** 31, 2 ** 53, -(2 ** 63), 1e21, 1e308, -1e308, 5e-324, '', ' ', '0', '-1',
  'true', 'null', 'NaN', 'Infinity', '1e309', '0x10', '99999999999999999999', '１２', 'x'.repeat(300), 'x'.repeat(70_000),
  '\u0000', 'a\u0000b', '\ud800', '\ufeff', '\u202e\u2028', 'ä\u0308', '😀'.repeat(64), '\uffff', 'a\r\nX-Injected: yes',
  '../../etc/passwd', "'; DROP TABLE users; --", '%s%n%x', '%', '%zz', '${x}', '<script>', '*', ',', ',,', 'a,b', ':', '/',
  [], {}, [null], [[]], [{}], { a: 1 }, { $ref: '#' }, [[[[[[[[]]]]]]]], Array(2000).fill(0), ['a', 'a'],
];

/** With or without padding, and in either alphabet. */
const isBase64 = (text) => {
  const plain = text.replace(/^data:[^,]*;base64,/i, '').replace(/[ \t\r\n]/g, '');
  return Buffer.from(plain, 'base64').toString('base64').replaceAll('=', '') ===
    plain.replaceAll('-', '+').replaceAll('_', '/').replace(/={1,2}$/, '');
};

/** Has a validator look at what it only knows the words of. */
export function teachEncodings(ajv) {
  ajv.removeKeyword('contentEncoding');
  ajv.addKeyword({ keyword: 'contentEncoding', type: 'string', validate: (how, text) => how !== 'base64' || isBase64(text) });
  ajv.addFormat('binary', true);
}

/** A text for a pattern of classes, characters and counts: all that openapi.yaml has. */
function matching(random, pattern) {
  let text = '';
  const atoms = /(\[[^\]]+\]|.)(?:\{(\d+)(?:,(\d+))?\})?/g;
  for (const [, atom, low = '1', high = low] of pattern.replace(/^\^|\$$/g, '').matchAll(atoms)) {
    const characters = atom.length === 1 ? [atom] : [...atom.slice(1, -1).matchAll(/(.)-(.)|(.)/g)].flatMap(
      ([, first, last, one]) => one ?? Array.from({ length: last.charCodeAt(0) - first.charCodeAt(0) + 1 },
        (_, i) => String.fromCharCode(first.charCodeAt(0) + i)));
    for (let count = random.between(Number(low), Number(high)); count > 0; count--) {
      text += random.pick(characters);
    }
  }
  return text;
}

/**
 * resolve(schema) follows a $ref. known(name, schema) gives a value for a property or parameter of that
 * name that means something to the server, or undefined.
 */
export function schemaValues(random, resolve, known = () => undefined) {
  const numbers = (schema, whole) => {
    const { minimum: least = whole ? -1000 : -1, maximum: most = whole ? 100_000 : 1000 } = schema;
    const inside = least + random.next() * (most - least);
    return random.pick([least, most, whole ? Math.round(inside) : inside, schema.default ?? least]);
  };
  const strings = (schema) => {
    switch (schema.format) {
      case 'uuid': return uuid(random);
      case 'date-time': return new Date(random.between(0, 4e12)).toISOString();
      case 'uri': return random.pick(['http://127.0.0.1:9/', 'https://example.invalid/a?b=c#d']);
      default:
    }
    if (schema.contentEncoding === 'base64') {
      return Buffer.from(hex(random, random.below(60)), 'hex').toString('base64');
    }
    if (schema.pattern !== undefined) {
      return matching(random, schema.pattern);
    }
    const { minLength: least = 0, maxLength: most = 30 } = schema;
    const length = random.pick([least, Math.min(most, 5000), random.between(least, Math.min(most, least + 12))]);
    return Array.from({ length }, () => random.pick([...'abcXYZ019._- äß😀'])).join('');
  };
  const objects = (schema) => {
    const object = {};
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      if (schema.required?.includes(name) || random.chance(0.35)) {
        object[name] = fitting(property, name);
      }
    }
    return object;
  };
  const arrays = (schema, name) => {
    const { minItems: least = 0, maxItems: most = 4 } = schema;
    const length = random.pick([least, Math.min(most, least + 2), random.between(least, Math.min(most, least + 3))]);
    return Array.from({ length }, () => fitting(schema.items ?? {}, name));
  };

  function fitting(reference, name) {
    const value = known(name, reference);
    if (value !== undefined) {
      return value;
    }
    const schema = resolve(reference);
    if (schema.const !== undefined) {
      return schema.const;
    }
    if (schema.enum) {
      return random.pick(schema.enum);
    }
    if (schema.allOf) {
      const parts = schema.allOf.map(resolve);
      return objects({ properties: Object.assign({}, ...parts.map((part) => part.properties)),
        required: [schema, ...parts].flatMap((part) => part.required ?? []) });
    }
    const choices = schema.anyOf ?? schema.oneOf;
    if (choices) {
      return fitting(random.pick(choices), name);
    }
    switch (random.pick([schema.type ?? 'object'].flat())) {
      case 'null': return null;
      case 'boolean': return random.chance(0.5);
      case 'integer': return numbers(schema, true);
      case 'number': return numbers(schema, false);
      case 'string': return strings(schema);
      case 'array': return arrays(schema, name);
      default: return objects(schema);
    }
  }

  /** The value with one thing changed, somewhere in it. */
  function spoiled(value) {
    if (typeof value !== 'object' || value === null || random.chance(0.1)) {
      return beyond(value);
    }
    const keys = Object.keys(value);
    if (Array.isArray(value)) {
      const longer = [...value, ...Array(random.pick([1, 33, 101])).fill(value[0] ?? random.pick(STRANGE))];
      return keys.length === 0 || random.chance(0.3) ? longer
        : value.map((item, i) => (i === value.length - 1 ? spoiled(item) : item));
    }
    const key = keys.length > 0 ? random.pick(keys) : 'unknown';
    const { [key]: old, ...rest } = value;
    return random.pick([
      () => rest,
      () => ({ ...value, [random.pick(['unknown', '__proto__x', '', key.toUpperCase(), `${key} `])]: 1 }),
      () => ({ ...value, [key]: spoiled(old) }),
      () => ({ ...value, [key]: spoiled(old) }),
    ])();
  }

  /** Just past a number, longer than a text, or something else altogether. */
  function beyond(value) {
    if (typeof value === 'number' && random.chance(0.5)) {
      return random.pick([value + 1, value - 1, -value, value + 0.5, value * 1e6, String(value)]);
    }
    if (typeof value === 'string' && random.chance(0.4)) {
      return random.pick([`${value}x`, value.slice(1), value.toUpperCase(), ` ${value}`, `${value}\u0000`, value.repeat(50)]);
    }
    return random.pick(STRANGE);
  }

  return { fitting, spoiled, beyond };
}
