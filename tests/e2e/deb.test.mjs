// What "make deb" makes: its files, its needs, and units that systemd understands and finds tight.
// tests/deb.sh installs, starts and purges it on a machine made for that.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { skipWithout } from './lib/cli.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);
const units = ['nexus.service', 'nexus-worker.service', 'nexus-backup.service'];

describe('the Debian package', { skip: skipWithout('dpkg-deb') || skipWithout('dpkg-shlibdeps') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-deb-'));
  let file;
  before(async () => {
    const { stdout } = await run(join(root, 'scripts/deb'), [], { env: { ...process.env, DEB_COMPRESS: 'none' } });
    file = join(root, /build\/nexus_\S+\.deb/.exec(stdout)[0]);
    await run('dpkg-deb', ['--extract', file, folder]);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('says what it needs', async () => {
    const { stdout } = await run('dpkg-deb', ['--field', file, 'Package', 'Depends', 'Description']);
    assert.match(stdout, /^Package: nexus$/m);
    assert.match(stdout, /^Depends: .*libmicrohttpd12.*libpq5.*adduser/m);
  });

  it('holds a program that runs, its runtime, manual and completions', async () => {
    const { stdout } = await run(join(folder, 'usr/bin/nexus'), ['--version']);
    assert.match(stdout, /^nexus \d+\.\d+\.\d+/);
    for (const path of ['usr/lib/nexus/libonnxruntime.so.1', 'usr/share/man/man1/nexus.1.gz',
      'usr/share/bash-completion/completions/nexus', 'lib/systemd/system/nexus-backup.timer', ...units.map((unit) => `lib/systemd/system/${unit}`)]) {
      assert.ok(existsSync(join(folder, path)), path);
    }
  });

  it('brings a configuration that the program takes, with nothing of this machine in it', async () => {
    const config = join(folder, 'etc/nexus/nexus.yaml');
    const set = readFileSync(config, 'utf8').split('\n').filter((line) => /^\w/.test(line));
    assert.deepEqual(set, ['data_dir: /var/lib/nexus']);
    writeFileSync(config, readFileSync(config, 'utf8').replace('/var/lib/nexus', folder));
    const shown = await run(join(folder, 'usr/bin/nexus'), ['check', '--format', 'json', '--config', config])
      .catch((error) => error); // 3: there is no model
    assert.ok(JSON.parse(shown.stdout), shown.stderr);
  });

  it('keeps what the administrator wrote', async () => {
    const control = join(folder, 'control');
    await run('dpkg-deb', ['--control', file, control]);
    assert.equal(readFileSync(join(control, 'conffiles'), 'utf8'), '/etc/nexus/nexus.yaml\n');
  });
});

describe('the units', { skip: skipWithout('systemd-analyze') }, () => {
  for (const unit of units) {
    it(`${unit} is tight`, () => {
      const text = execFileSync('systemd-analyze', ['security', '--offline=true', '--no-pager', '--threshold=25',
        join(root, 'deploy/systemd', unit)], { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
      assert.match(text, /Overall exposure level .*: [0-2]\.\d/);
    });
  }
});
