// make sbom: valid CycloneDX, with what the program links against, and the hashes that are pinned.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { skipWithout } from './lib/cli.mjs';

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL('../../', import.meta.url));
const schemas = join(root, 'tests/e2e/node_modules/@cyclonedx/cyclonedx-library/res/schema');
const read = (path) => readFileSync(path, 'utf8');
const skip = skipWithout('dpkg-query') ||
  (!existsSync(join(root, 'build/release/nexus')) && 'there is no build/release/nexus') ||
  (!existsSync(schemas) && 'there are no schemas (scripts/packages tests/e2e)');

describe('the bill of materials', { skip }, () => {
  let written;
  let bom;
  before(() => {
    written = execFileSync(join(root, 'scripts/sbom'), ['-'], { encoding: 'utf8', maxBuffer: 1e8 });
    bom = JSON.parse(written);
  });
  const named = (name) => bom.components.filter((one) => one.name === name);

  it('is valid CycloneDX', () => {
    const Ajv = require('ajv');
    const ajv = new Ajv({ strict: false, validateFormats: false });
    for (const name of ['spdx', 'jsf-0.82']) {
      ajv.addSchema(JSON.parse(read(join(schemas, `${name}.SNAPSHOT.schema.json`))), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
    }
    const valid = ajv.compile(JSON.parse(read(join(schemas, 'bom-1.6.SNAPSHOT.schema.json'))));
    assert.ok(valid(bom), JSON.stringify(valid.errors));
    const refs = bom.components.map((one) => one['bom-ref']);
    assert.equal(new Set(refs).size, refs.length);
    assert.ok(bom.dependencies[0].dependsOn.every((ref) => refs.includes(ref)));
  });

  it('has the packages of the libraries, with the versions that are installed', () => {
    for (const name of ['libc6', 'libmicrohttpd12', 'libjpeg62-turbo', 'libpq5', 'libavcodec59', 'libsodium23']) {
      const [found] = named(name);
      const installed = execFileSync('dpkg-query', ['-W', '-f', '${Version}', name], { encoding: 'utf8' });
      assert.equal(found?.version, installed, name);
    }
  });

  it('has the runtime and the models with the hashes that are asked for', () => {
    const fetch = read(join(root, 'scripts/fetch'));
    const [runtime] = named('onnxruntime');
    assert.ok(fetch.includes(`onnxruntime-node@${runtime.version}`));
    assert.ok(fetch.includes(`member_sha256=${runtime.hashes[0].content}`));
    const models = bom.components.filter(({ type }) => type === 'machine-learning-model');
    assert.deepEqual(models.map(({ name, licenses }) => [name, licenses[0].license.id]), [
      ['yolov8n.onnx', 'AGPL-3.0-only'], ['yolov8s.onnx', 'AGPL-3.0-only'], ['yolov8m.onnx', 'AGPL-3.0-only'],
      ['encoder.onnx', 'Apache-2.0'], ['sam.onnx', 'Apache-2.0'],
    ]);
    assert.ok(fetch.includes(`member_sha256=${models[0].hashes[0].content}`));
  });

  it('tells what the page ships from what only builds it', () => {
    const scope = (name) => named(name)[0]?.scope;
    assert.deepEqual(['preact', 'uplot', 'swagger-ui-dist', 'vite', 'typescript'].map(scope),
      ['required', 'required', 'required', 'excluded', 'excluded']);
    assert.ok(bom.components.filter(({ purl }) => purl?.startsWith('pkg:npm/') && !purl.includes('onnxruntime'))
      .every(({ hashes }) => /^[0-9a-f]{128}$/.test(hashes[0].content)));
  });

  it('is the same when it is made again, and names nobody’s machine', () => {
    assert.equal(execFileSync(join(root, 'scripts/sbom'), ['-'], { encoding: 'utf8', maxBuffer: 1e8 }), written);
    assert.ok(!written.includes(root));
  });
});
