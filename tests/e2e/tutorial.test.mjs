// docs/tutorial.md, as a newcomer would type it: its blocks of commands in their order, in one shell, with another
// port, and the programs of this build. A comment before a block says how it is run, one behind it what it must print.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { skipWithout } from './lib/cli.mjs';
import { makeDataDir, usualDataDir } from './lib/data_dir.mjs';
import { freePort } from './lib/ports.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { binary, skipWithoutShared, startServer } from './lib/server.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const BLOCK_MS = 120_000;
const SAMPLE = join(usualDataDir, 'samples/dog.jpg');
const skip = skipWithoutShared() || (existsSync(SAMPLE) ? false : `there is no ${SAMPLE}`) || skipWithoutPostgres() || skipWithout('prometheus') || skipWithout('ffmpeg');

/** [{ chapter, text, how, prints }] of the document's blocks in sh. */
function readBlocks(text) {
  const pattern = /^## (?<chapter>[^\n]*)$|(?:^<!-- (?<how>[^>\n]*) -->\n)?^```sh\n(?<text>.*?)^```\n(?:<!-- prints: (?<prints>[^\n]*) -->)?/gms;
  const blocks = [];
  let chapter = '';
  for (const { groups } of text.matchAll(pattern)) {
    if (groups.chapter !== undefined) {
      chapter = groups.chapter;
    } else {
      blocks.push({ ...groups, chapter, how: groups.how ?? 'here' });
    }
  }
  return blocks;
}

/** A program that ran away takes its children along. */
function run(command, options) {
  const child = spawn('bash', ['-c', command], { ...options, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => { output = (output + chunk).slice(-100_000); });
  }
  const ended = new Promise((resolve) => { child.once('close', resolve); });
  return {
    ended,
    output: () => output,
    stop() {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch { /* it has ended */ }
      return ended;
    },
  };
}

describe('the tutorial', { skip }, () => {
  const blocks = readBlocks(readFileSync(join(root, 'docs/tutorial.md'), 'utf8'));
  const others = [];
  let folder, home, postgres, first, options, ports;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nexus-tutorial-'));
    mkdirSync(join(folder, 'build/tutorial'), { recursive: true });
    mkdirSync(join(folder, 'bin'));
    symlinkSync(binary, join(folder, 'bin/nexus'));
    copyFileSync(SAMPLE, join(folder, 'build/tutorial/dog.jpg'));
    cpSync(join(root, 'deploy/prometheus'), join(folder, 'deploy/prometheus'), { recursive: true });
    home = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    postgres = await startPostgres();
    ports = { 8000: await freePort(), 9090: await freePort() };
    const config = join(folder, 'deploy/prometheus/prometheus.yml');
    writeFileSync(config, withPorts(readFileSync(config, 'utf8')).replaceAll('interval: 15s', 'interval: 1s'));
    options = {
      cwd: join(folder, 'build/tutorial'),
      env: { ...process.env, PATH: `${folder}/bin:${process.env.PATH}`, NEXUS_DATA_DIR: home.path, DATABASE_URL: '' },
    };
    first = await startServer({ args: ['--port', String(ports[8000])], env: options.env });
  });
  after(async () => {
    await Promise.all(others.map((other) => other.stop()));
    await first?.stop();
    await postgres?.remove();
    home?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  const withPorts = (text) => text.replace(/\b(8000|9090)\b/g, (port) => ports[port]);

  async function leaveSqlite() {
    await first.stop();
    options.env.DATABASE_URL = postgres.url;
  }

  async function type(block) {
    const command = withPorts(block.text);
    if (block.how === 'another terminal') {
      if (/^nexus serve/.test(command)) {
        await leaveSqlite();
      }
      others.push(run(`exec ${command}`, options));
      return;
    }
    const shell = run(`set -e\n${command}`, options);
    const timer = setTimeout(() => shell.stop(), BLOCK_MS);
    const code = await shell.ended;
    clearTimeout(timer);
    const seen = `${command}\n${shell.output()}\n${others.map((other) => other.output().slice(-2000)).join('\n')}`;
    assert.equal(code, 0, seen);
    if (block.prints !== undefined) {
      assert.match(shell.output(), new RegExp(block.prints, 'ms'), seen);
    }
  }

  it('has commands to run', () => {
    assert.ok(blocks.length > 10);
    assert.equal(blocks.filter(({ how }) => how === 'another terminal').length, 3);
    for (const { how, text } of blocks) {
      assert.match(how, /^(here|another terminal|not in the test: .*)$/, text);
    }
  });

  for (const [number, block] of blocks.entries()) {
    if (!block.how.startsWith('not in the test')) {
      it(`${block.chapter}: ${number}: ${block.text.split('\n')[0]}`, () => type(block));
    }
  }
});
