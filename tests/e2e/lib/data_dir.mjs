// A data folder of a test's own: ONNX Runtime of the usual one, and the models that the test wants.

import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { sharedPath } from './server.mjs';

/** The data folder of whoever runs the tests. */
export const usualDataDir =
  process.env.NEXUS_DATA_DIR ||
  join(process.env.XDG_DATA_HOME || join(homedir(), '.local/share'), 'nexus');

/** models: path below models/ to file of the shared data. path: a folder that is there. { path, remove() } */
export function makeDataDir(models = {}, path = mkdtempSync(join(tmpdir(), 'nexus-data-'))) {
  mkdirSync(join(path, 'models'));
  if (existsSync(join(usualDataDir, 'lib'))) {
    symlinkSync(join(usualDataDir, 'lib'), join(path, 'lib'));
  }
  for (const [place, file] of Object.entries(models)) {
    const target = join(path, 'models', place);
    mkdirSync(dirname(target), { recursive: true });
    symlinkSync(sharedPath(file), target);
  }
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
