// An S3 server of the test's own (tests/unit/s3_server.mjs), with its objects in a folder of files.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const s3rver = join(root, 'tests/e2e/node_modules/s3rver');

/** What node:test's skip option wants. */
export function skipWithoutS3() {
  if (existsSync(s3rver)) {
    return false;
  }
  console.error(`SKIPPED: there is no ${s3rver} (scripts/packages tests/e2e)`);
  return 'there is no s3rver';
}

/** { env, file(name), remove() }: settings for Nexus, and where the bytes of an object are. */
export async function startS3() {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-s3-'));
  const server = spawn('node', ['tests/unit/s3_server.mjs', folder, 'nexus'], { cwd: root });
  const [line] = await once(createInterface({ input: server.stdout }), 'line');
  const [, port] = /^listening (\d+)$/.exec(line);
  return {
    env: {
      OBJECTS_URL: 's3://nexus/objects',
      S3_ENDPOINT: `http://127.0.0.1:${port}`,
      AWS_ACCESS_KEY_ID: 'S3RVER',
      AWS_SECRET_ACCESS_KEY: 'S3RVER',
    },
    file(name) {
      const found = readdirSync(folder, { recursive: true, withFileTypes: true })
        .find((entry) => entry.isFile() && `${entry.parentPath ?? entry.path}/${entry.name}`
          .includes(name) && /_object$/.test(entry.name));
      return found && join(found.parentPath ?? found.path, found.name);
    },
    remove() {
      server.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
