// The command line around detection: mistakes, measuring, checking, configuring, explaining itself.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  assertRefused,
  bash,
  detectJson,
  nexus,
  scratch,
  skipWithout,
  skipWithoutFull,
  start,
} from './lib/cli.mjs';
import { binary, sharedPath, skipWithoutShared } from './lib/server.mjs';

const skip = skipWithoutShared();
const root = fileURLToPath(new URL('../..', import.meta.url));
const s3rver = join(root, 'tests/e2e/node_modules/s3rver');
if (!existsSync(s3rver)) {
  console.error(`SKIPPED: there is no ${s3rver} (scripts/packages tests/e2e)`);
}
const skipWithoutS3 = existsSync(s3rver) ? false : 'there is no s3rver';
const picture = (name) => sharedPath(`images/${name}`);
const BUS = picture('bus.jpg');

// What --help, the manual page and shell completion must all know.
const COMMANDS = {
  detect: ['conf', 'iou', 'classes', 'max', 'format', 'output', 'annotate', 'recursive'],
  segment: ['point', 'box', 'multimask', 'mask-format', 'format', 'output', 'annotate'],
  track: ['out', 'zones', 'outputs', 'conf', 'classes', 'stride', 'fps', 'motion-gate', 'adaptive-stride',
    'no-track', 'counts-every'],
  serve: ['host', 'port', 'run-jobs', 'concurrency'],
  worker: ['concurrency', 'prefetch', 'max-tasks'],
  'models list': ['format'],
  'models add': ['name'],
  'models remove': [],
  'models pull': ['from'],
  'models access': ['grant', 'grant-key', 'days', 'revoke', 'revoke-key', 'format'],
  'users list': ['format'],
  'users add': ['role', 'password-file'],
  'users passwd': ['password-file'],
  'users role': [],
  'users disable': [],
  'users enable': [],
  'users remove': [],
  'users setup-link': [],
  'keys list': ['user', 'format'],
  'keys add': ['user', 'scopes', 'days', 'format'],
  'keys revoke': [],
  eval: ['annotations', 'images', 'detections', 'format'],
  bench: ['threads', 'concurrency', 'duration', 'image', 'format'],
  check: ['format'],
  sweep: [],
  backup: ['key-file', 'keep', 'list', 'json', 'verify', 'backup'],
  restore: ['backup', 'key-file', 'force'],
  'audit list': ['since', 'until', 'actor', 'action', 'format'],
  'audit head': [],
  'audit verify': ['head'],
  help: ['man'],
  completion: [],
};
const COMMON = ['config', 'model', 'profile', 'data-dir', 'workers', 'log-level'];
const WITHOUT_CONFIG = ['help', 'completion'];
const TOP = [...new Set(Object.keys(COMMANDS).map((command) => command.split(' ')[0]))];

describe('mistakes', () => {
  const cases = [
    [[], /^Usage: nexus COMMAND/],
    [['detct', 'x.jpg'], /no command 'detct'; did you mean 'detect'\?/],
    [['models', 'lst'], /nexus models: there is no command 'lst'; did you mean 'list'\?/],
    [['models', '--data-dir', 'x'], /options stand behind the command, as in 'nexus models list/],
    [['models'], /^Usage: nexus models COMMAND/],
    [['models', 'list', '--fromat', 'x'], /nexus models list: unknown option .*'--format'/],
    [['help', 'models', 'lst'], /did you mean 'list'\?/],
    [['help', 'detect', 'x'], /there is no command 'x'/],
    [['--versoin'], /did you mean '--version'\?/],
    [['--model', 'm', 'detect'], /options stand behind the command/],
    [['help', 'bensh'], /no command 'bensh'; did you mean 'bench'\?/],
    [['detect'], /PATH\|DIR\|GLOB\|-\.\.\. is missing/],
    [['detect', 'x.jpg', '--cnf', '1'], /unknown option '--cnf'; did you mean '--conf'\?/],
    [['detect', 'x.jpg', '--co', '1'], /option '--co' could be '--conf' or '--config'/],
    [['detect', 'x.jpg', '--conf'], /option '--conf' needs an argument/],
    [['detect', 'x.jpg', '-f'], /option '-f' needs an argument/],
    [['detect', 'x.jpg', '-rq'], /unknown option '-q'/],
    [['detect', 'x.jpg', '--recursive=yes'], /option '--recursive' takes no argument/],
    [['detect', 'x.jpg', '--conf', '2'], /--conf: confidence is 2; it must be from 0 to 1/],
    [['detect', 'x.jpg', '--iou', 'half'], /--iou: iou is 'half', which is not a number/],
    [['detect', 'x.jpg', '--max', '0'], /--max: max_detections is 0; it must be from 1 to 10000/],
    [['detect', 'x.jpg', '--max', '1.5'], /which is not a whole number/],
    [
      ['detect', 'x.jpg', '--format', 'jsn'],
      /--format is 'jsn'; use one of text\|json\|ndjson\|csv\|coco\|yolo/,
    ],
    [['detect', '-', '-'], /standard input \(-\) can be read only once/],
    [['check', '--log-level', 'loud'], /use one of debug\|info\|warning\|error/],
    [['check', 'x'], /'x' is one argument too many/],
    [['bench', '--threads', '1,x'], /--threads is a list such as 1,2,4/],
    [['bench', '--concurrency', '0'], /--concurrency is a list/],
    [['bench', '--duration', '0'], /--duration is '0'; it must be from 0\.1 to 3600/],
    [['completion', 'tcsh'], /use bash, zsh or fish/],
  ];
  for (const [args, message] of cases) {
    it(`nexus ${args.join(' ')}`, async () => {
      assertRefused(await nexus(args), 2, message);
    });
  }
});

describe('bench', { skip }, () => {
  const quick = ['bench', '--duration', '0.3', '--threads', '1', '--concurrency', '1,2'];

  it('prints a table and the best setting', async () => {
    const { code, stdout, stderr } = await nexus(quick);
    assert.equal(code, 0, stderr);
    assert.equal(stderr, '');
    assert.match(
      stdout,
      /^yolov8n at 640x640 \(width x height\), ONNX Runtime \d+\.\d+\.\d+, 0\.3 s a row$/m,
    );
    assert.match(stdout, /^what +threads +at once +images\/s +p50 ms +p95 ms +p99 ms$/m);
    assert.equal(
      stdout.match(/^run +1 +[12] +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+( {2}<- best)?$/gm).length,
      2,
    );
    assert.match(stdout, /^Most images: INFERENCE_WORKERS=[12] \([\d.]+ images\/s\)$/m);
    assert.match(stdout, /^Soonest when alone: INFERENCE_NUM_THREADS=1 \([\d.]+ ms\)$/m);
  });

  it('gives the same as JSON, with the whole way from a picture', async () => {
    const { code, stdout, stderr } = await nexus([...quick, '--image', BUS, '--format', 'json']);
    assert.equal(code, 0, stderr);
    const { rows, best, model, input_width: width, input_height: height } = JSON.parse(stdout);
    assert.deepEqual([model, width, height], ['yolov8n', 640, 640]);
    assert.deepEqual(
      rows.map((r) => [r.what, r.threads, r.concurrency]),
      [
        ['run', 1, 1],
        ['whole', 1, 1],
        ['run', 1, 2],
        ['whole', 1, 2],
      ],
    );
    for (const row of rows) {
      assert.ok(
        row.p50_ms > 1 && row.p50_ms <= row.p95_ms && row.p95_ms <= row.p99_ms,
        JSON.stringify(row),
      );
      // as many at once as asked for: Little's law, with room for the few samples of 0.3 s
      const atOnce = (row.images_per_second * row.p50_ms) / 1000;
      assert.ok(atOnce > row.concurrency / 4 && atOnce < row.concurrency * 4, JSON.stringify(row));
    }
    const whole = rows.filter((r) => r.what === 'whole').map((r) => r.images_per_second);
    assert.equal(best.what, 'whole');
    assert.equal(best.images_per_second, Math.max(...whole));
  });

  it('says what is wrong with the picture or the model', async () => {
    assertRefused(await nexus([...quick, '--image', picture('odd/text.jpg')]), 3, /this is text/);
    const broken = sharedPath('models/broken/declared-320-graph-640.onnx');
    assertRefused(await nexus([...quick, '--model', broken]), 3, /320x320/);
  });
});

describe('check and the configuration', () => {
  const settings = async (args, env) => {
    const { stdout } = await nexus(['check', '--format', 'json', ...args], { env });
    const { configuration } = JSON.parse(stdout);
    return Object.fromEntries(configuration.map((s) => [s.name, [s.value, s.origin]]));
  };
  const file = (t, text) => {
    const path = join(scratch(t), 'nexus.yaml');
    writeFileSync(path, text);
    return path;
  };

  it('shows settings and state to a person', async () => {
    const { code, stdout } = await nexus(['check', '--workers', '2']);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^ {2}inference_workers +INFERENCE_WORKERS +2 +--workers$/m);
    assert.match(stdout, /^ {2}confidence +NEXUS_CONFIDENCE +0\.25 +default$/m);
    assert.match(stdout, /^ {2}ok +ONNX Runtime +\d+\.\d+\.\d+, \//m);
    assert.match(stdout, /^ {2}ok +model +yolov8n on (?:cpu|cuda): YOLOv8\/11 head, 640x640, 80 classes/m);
    assert.match(stdout, /^ {2}ok +processor +\d+ cores/m);
  });

  it('shows the same as JSON', async () => {
    const { code, stdout } = await nexus(['check', '--format', 'json']);
    const { status, version, checks } = JSON.parse(stdout);
    assert.equal(code, 0, stdout);
    assert.notEqual(status, 'failed');
    assert.match(version, /^\d+\.\d+\.\d+$/);
    const states = Object.fromEntries(checks.map((c) => [c.name, c.status]));
    assert.equal(states['ONNX Runtime'], 'ok');
    assert.equal(states.model, 'ok');
  });

  it('exits with 3 when something needed is missing', async () => {
    const env = { NEXUS_ORT_LIBRARY: '/nonexistent/libonnxruntime.so.1' };
    const { code, stdout } = await nexus(['check', '--format', 'json'], { env });
    assert.equal(code, 3);
    const { status, checks } = JSON.parse(stdout);
    assert.equal(status, 'failed');
    const runtime = checks.find((c) => c.name === 'ONNX Runtime');
    assert.equal(runtime.status, 'failed');
    assert.match(runtime.detail, /cannot load ONNX Runtime: run 'make run' once.*\/nonexistent/);
    const noModel = await nexus(['check', '--model', 'nope']);
    assert.equal(noModel.code, 3);
    assert.match(noModel.stdout, /^ {2}failed +model +there is no model 'nope'/m);
    assertRefused(await nexus(['detect', 'x.jpg'], { env }), 3, /cannot load ONNX Runtime/);
  });

  it('tells of the database without changing it, and never a password', async (t) => {
    const folder = scratch(t);
    const database = async (url) => {
      const env = { DATABASE_URL: url };
      const { code, stdout, stderr } = await nexus(['check', '--format', 'json'], { env });
      assert.ok(!`${stdout}${stderr}`.includes('geheim'));
      const { checks, configuration } = JSON.parse(stdout);
      const { status, detail } = checks.find((c) => c.name === 'database');
      const { value } = configuration.find((s) => s.environment === 'DATABASE_URL');
      return { code, status, detail, value };
    };
    const fresh = await database(`sqlite:${folder}/new.db`);
    assert.equal(fresh.status, 'ok');
    assert.match(fresh.detail, /^SQLite \d.*new\.db: not there yet, the first start makes it$/);
    assert.deepEqual(readdirSync(folder), []);

    writeFileSync(join(folder, 'no.db'), 'this is a text, and longer than a header. '.repeat(20));
    const broken = await database(`sqlite:${folder}/no.db`);
    assert.equal(broken.code, 3);
    assert.match(broken.detail, /^SQLite: .*no\.db: file is not a database/);

    const away = await database('postgres://me:geheim@127.0.0.1:1/nexus');
    assert.equal(away.code, 3);
    assert.match(away.detail, /^PostgreSQL: cannot reach PostgreSQL at me@127\.0\.0\.1:1\/nexus: /);
    assert.equal(away.value, 'postgres://me:***@127.0.0.1:1/nexus');

    const wrong = await database('mysql://me:geheim@host/db');
    assert.equal(wrong.status, 'failed');
    assert.match(wrong.detail, /DATABASE_URL is 'mysql:\/\/me:\*\*\*@host\/db'; use sqlite:PATH/);
  });

  it('tells of the bucket, and never the key to it', { skip: skipWithoutS3 }, async (t) => {
    const server = spawn('node', ['tests/unit/s3_server.mjs', scratch(t), 'nexus'], { cwd: root });
    t.after(() => server.kill('SIGKILL'));
    const [line] = await once(createInterface({ input: server.stdout }), 'line');
    const [, port] = /^listening (\d+)$/.exec(line);
    const objects = async (url, secret) => {
      const env = {
        OBJECTS_URL: url,
        S3_ENDPOINT: `http://127.0.0.1:${port}`,
        AWS_ACCESS_KEY_ID: 'S3RVER',
        AWS_SECRET_ACCESS_KEY: secret,
      };
      const { stdout } = await nexus(['check', '--format', 'json'], { env });
      const { checks, configuration } = JSON.parse(stdout);
      const key = configuration.find((s) => s.environment === 'AWS_SECRET_ACCESS_KEY');
      assert.equal(key.value, '***');
      return checks.find((c) => c.name === 'objects');
    };
    const there = await objects('s3://nexus/videos', 'S3RVER');
    assert.equal(there.status, 'ok', there.detail);
    assert.equal(there.detail, `s3://nexus/videos at http://127.0.0.1:${port}`);
    assert.match((await objects('s3://nexus', 'geheim')).detail, /: S3 refuses bucket: 403 $/);
    assert.match((await objects('s3://none', 'S3RVER')).detail, /: S3 has no bucket$/);
    assert.match((await objects('http://x', 'S3RVER')).detail, /^OBJECTS_URL is 'http:\/\/x'; use s3:/);
  });

  it('writes a file that sets what is set', async (t) => {
    const env = { NEXUS_PORT: '9001', TRUSTED_PROXIES: '10.0.0.0/8, fd00::/8', VIDEO_FOLDERS: '/a: "b"', WEBHOOK_SECRET: 'geheim' };
    const { code, stdout, stderr } = await nexus(['check', '--format', 'yaml', '--profile', 'large'], { env });
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stdout, /geheim/);
    const path = file(t, stdout);
    const before = await settings(['--profile', 'large'], { ...env, WEBHOOK_SECRET: '' });
    const after = await settings(['--config', path], {});
    assert.deepEqual(Object.entries(after).map(([name, [value]]) => [name, value]),
      Object.entries(before).map(([name, [value]]) => [name, value]));
    assert.match(after.port[1], /nexus\.yaml:\d+$/);
    assert.equal(after.db_pool_size[1], 'profile large');
    assert.equal(after.iou[1], 'default');
  });

  it('never shows what webhooks are signed with', async () => {
    const env = { WEBHOOK_SECRET: 'geheim', WEBHOOK_ALLOW_PRIVATE: 'yes' };
    const { stdout, stderr } = await nexus(['check', '--format', 'json'], { env });
    const { configuration } = JSON.parse(stdout);
    const value = (name) => configuration.find((s) => s.environment === name).value;
    assert.equal(value('WEBHOOK_SECRET'), '***');
    assert.equal(value('WEBHOOK_ALLOW_PRIVATE'), 'yes');
    assert.doesNotMatch((await nexus(['check'], { env })).stdout + stdout + stderr, /geheim/);
  });

  it('puts an option over the environment over the file over the default', async (t) => {
    const path = file(t, 'port: 9001\nconfidence: 0.5\niou: 0.6\ninference_workers: 2\n');
    const env = { NEXUS_CONFIDENCE: '0.4', INFERENCE_WORKERS: '3' };
    const shown = await settings(['--config', path, '--workers', '4'], env);
    assert.deepEqual(shown.port, ['9001', `${path}:1`]);
    assert.deepEqual(shown.confidence, ['0.4', 'environment NEXUS_CONFIDENCE']);
    assert.deepEqual(shown.inference_workers, ['4', '--workers']);
    assert.deepEqual(shown.iou, ['0.6', `${path}:3`]);
    assert.deepEqual(shown.max_detections, ['300', 'default']);
    const named = await settings([], { NEXUS_CONFIG: path });
    assert.deepEqual(named.port, ['9001', `${path}:1`]);
  });

  it('puts a profile under all of them', async (t) => {
    const path = file(t, 'profile: large\ndb_pool_size: 90\n');
    const large = await settings(['--config', path], {});
    assert.deepEqual(large.profile, ['large', `${path}:1`]);
    assert.deepEqual(large.db_pool_size, ['90', `${path}:2`]);
    assert.deepEqual(large.db_max_overflow, ['50', 'profile large']);
    assert.deepEqual(large.port, ['8000', 'default']);
    const small = await settings(['-c', path, '--profile', 'small'], { NEXUS_PROFILE: 'cpu' });
    assert.deepEqual(small.db_max_overflow, ['10', 'profile small']);
    assertRefused(await nexus(['check', '--profile', 'smal']), 2, /did you mean 'small'\?/);
    const both = { INFERENCE_DEVICE: 'cpu' };
    assertRefused(await nexus(['check', '--profile', 'gpu'], { env: both }), 2,
      /use_tensorrt is for a GPU \(profile gpu\), and inference_device is cpu \(environment INF/);
  });

  it('warns of names that are nearly settings, and refuses those of ours that are none', async () => {
    const env = { INFERENCE_WORKRES: '2' };
    const { code, stdout } = await nexus(['check'], { env });
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^ {2}warning +configuration +.*WORKRES is no setting; did you mean INFERENCE_WORKERS\?$/m);
    const prot = { NEXUS_PROT: '1' };
    assertRefused(await nexus(['check'], { env: prot }), 2, /did you mean NEXUS_PORT\?/);
  });

  it('takes secrets from files and shows none of them', async (t) => {
    const path = join(scratch(t), 'secret');
    writeFileSync(path, 'geheim\n', { mode: 0o644 });
    const env = { WEBHOOK_SECRET_FILE: path };
    const { stdout, stderr } = await nexus(['check'], { env });
    assert.match(stdout, /^ {2}webhook_secret +WEBHOOK_SECRET +\*\*\* +environment WEBHOOK_SECRET_FILE$/m);
    assert.match(stdout, /^ {2}warning +configuration +.*everybody on this machine can read/m);
    assert.doesNotMatch(stdout + stderr, /geheim/);
    const none = { DATABASE_URL_FILE: '/none' };
    assertRefused(await nexus(['check'], { env: none }), 2,
      /environment DATABASE_URL_FILE: cannot open \/none; name a file that this user may read/);
  });

  it('does what it shows', { skip }, async (t) => {
    const env = { NEXUS_CONFIDENCE: '0.99' };
    const config = ['--config', file(t, 'confidence: 0.001\nmax_detections: 1\n')];
    const [{ detections: none }] = (await detectJson([BUS, ...config], { env })).results;
    const [{ detections: one }] = (await detectJson([BUS, ...config, '--conf', '0.25'], { env }))
      .results;
    assert.deepEqual([none.length, one.length], [0, 1]);
  });

  const broken = [
    [
      'confidnce: 0.5\n',
      /nexus\.yaml:1: there is no setting 'confidnce'; did you mean 'confidence'\?/,
    ],
    ['host: a\n\nport: 70000\n', /nexus\.yaml:3: port is 70000; it must be from 0 to 65535/],
    ['port: 1\nport: 2\n', /nexus\.yaml:2: 'port' is set twice/],
    ['port: [1, 2]\n', /nexus\.yaml:1: a setting has one plain value/],
    ['port: "1\n', /nexus\.yaml:\d: not valid YAML/],
    ['just words\n', /nexus\.yaml: expected lines of the form 'setting: value'/],
    [
      'log_level: loud\n',
      /nexus\.yaml:1: log_level is 'loud'; use one of debug\|info\|warning\|error/,
    ],
  ];
  for (const [text, message] of broken) {
    it(`refuses ${JSON.stringify(text)}`, async (t) => {
      assertRefused(await nexus(['check', '--config', file(t, text)]), 2, message);
    });
  }

  it('refuses a file that is not there and a wrong environment', async () => {
    assertRefused(await nexus(['check', '-c', '/none.yaml']), 2, /cannot open \/none\.yaml/);
    const env = { NEXUS_IOU: 'high' };
    assertRefused(await nexus(['check'], { env }), 2, /environment NEXUS_IOU: iou is 'high'/);
  });
});

describe('help', () => {
  it('lists every command and exit code', async () => {
    const { code, stdout } = await nexus(['--help']);
    assert.equal(code, 0);
    for (const command of TOP) {
      assert.match(stdout, new RegExp(`^ {2}${command} +\\w`, 'm'));
    }
    for (const exit of [0, 1, 2, 3, 130, 141]) {
      assert.match(stdout, new RegExp(`^ {2}${exit} +\\w`, 'm'));
    }
    assert.deepEqual(await nexus(['help']), await nexus(['-h']));
    assert.match((await nexus(['--version'])).stdout, /^nexus \d+\.\d+\.\d+\n$/);
  });

  for (const [command, own] of Object.entries(COMMANDS)) {
    it(`${command}: each option, and examples`, async () => {
      const { code, stdout } = await nexus([...command.split(' '), '--help']);
      assert.equal(code, 0);
      const options = [...own, ...(WITHOUT_CONFIG.includes(command) ? [] : COMMON), 'help'];
      for (const option of options) {
        assert.match(
          stdout,
          new RegExp(`^ +(-\\w, )?--${option}( [A-Z0][^ ]*)?( {2,}|\\n {30})\\w`, 'm'),
        );
      }
      assert.match(stdout, new RegExp(`^Usage: nexus ${command}`));
      assert.match(stdout, new RegExp(`\\nExamples:\\n.*nexus ${command}`));
      assert.ok(
        stdout.split('\n').every((line) => line.length <= 100),
        'a line is too long',
      );
      assert.equal((await nexus(['help', ...command.split(' ')])).stdout, stdout);
    });
  }
});

describe('completion', () => {
  /** What bash offers for a line, as readline would ask. The last word is being typed. */
  async function complete(...words) {
    const script = `source <("$NEXUS" completion bash)
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
      _nexus nexus "\${COMP_WORDS[COMP_CWORD]}" "\${COMP_WORDS[COMP_CWORD-1]}"
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { ended } = start(['-c', script, 'bash', ...words], {
      program: 'bash',
      env: { NEXUS: binary },
    });
    const { code, stdout, stderr } = await ended;
    assert.equal(code, 0, stderr);
    assert.equal(stderr, '');
    return stdout.split('\n').filter(Boolean);
  }

  it('is valid bash and is registered for nexus', async () => {
    const { code, stdout, stderr } = await bash(
      '"$NEXUS" completion bash | bash -n && source <("$NEXUS" completion bash) && complete -p nexus',
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /-F _nexus nexus/);
  });

  it('offers commands, options and choices', async () => {
    assert.deepEqual(await complete('nexus', 'de'), ['detect']);
    assert.deepEqual(await complete('nexus', ''), [
      ...TOP,
      '--help',
      '--version',
    ]);
    assert.deepEqual(await complete('nexus', 'detect', '--co'), ['--conf', '--config']);
    assert.deepEqual(await complete('nexus', 'detect', 'a.jpg', '--rec'), ['--recursive']);
    assert.deepEqual(await complete('nexus', 'detect', '--format', 'j'), ['json']);
    assert.deepEqual(await complete('nexus', 'detect', '-f', ''), [
      'text',
      'json',
      'ndjson',
      'csv',
      'coco',
      'yolo',
    ]);
    assert.deepEqual(await complete('nexus', 'detect', '--format', '=', 'c'), ['csv', 'coco']);
    assert.deepEqual(await complete('nexus', 'check', '--log-level', 'w'), ['warning']);
    assert.deepEqual(await complete('nexus', 'completion', ''), ['bash', 'zsh', 'fish']);
    assert.deepEqual(await complete('nexus', 'help', 'b'), ['bench', 'backup']);
    assert.deepEqual(await complete('nexus', 'models', 'li'), ['list']);
    assert.deepEqual(await complete('nexus', 'models', 'list', '--format', 'j'), ['json']);
    assert.deepEqual(await complete('nexus', 'detect', 'photo'), []); // files: bash's own
  });

  for (const command of Object.keys(COMMANDS)) {
    it(`offers ${command} exactly the options of its help`, async () => {
      const words = command.split(' ');
      const { stdout } = await nexus([...words, '--help']);
      const documented = [...stdout.matchAll(/^ +(?:-\w, )?(--[\w-]+)/gm)].map((m) => m[1]);
      assert.deepEqual((await complete('nexus', ...words, '-')).sort(), documented.sort());
    });
  }

  for (const shell of ['zsh', 'fish']) {
    it(`is valid ${shell}`, { skip: skipWithout(shell) }, async () => {
      const { code, stderr } = await bash(
        `"$NEXUS" completion ${shell} > /proc/self/fd/1 | ${shell} -n`,
      );
      assert.equal(stderr, '');
      assert.equal(code, 0);
    });
  }
});

describe('manual page', () => {
  const withMan = skipWithout('man');
  const withGroff = withMan && skipWithout('groff');

  it('renders without warnings', { skip: withMan && withGroff }, async () => {
    const render = withMan ? 'groff -man -ww -z' : 'man -l --warnings -';
    const { code, stderr } = await bash(
      `set -o pipefail; "$NEXUS" help --man | ${render} > /dev/null`,
    );
    assert.equal(stderr, '');
    assert.equal(code, 0);
  });

  it('has the sections, every option and every variable', async () => {
    const { stdout } = await nexus(['help', '--man']);
    const text = stdout.replaceAll('\\-', '-');
    for (const section of ['NAME', 'SYNOPSIS', 'COMMANDS', 'ENVIRONMENT', 'EXIT STATUS']) {
      assert.ok(text.includes(`.SH ${section}\n`), section);
    }
    for (const [command, own] of Object.entries(COMMANDS)) {
      assert.ok(text.includes(`.SS nexus ${command}\n`));
      assert.ok(own.every((option) => text.includes(`--${option}`)));
    }
    const { configuration } = JSON.parse((await nexus(['check', '-f', 'json'])).stdout);
    assert.ok(configuration.length > 20);
    assert.ok(configuration.every((s) => text.includes(`.B ${s.environment}\n`)));
  });
});

describe('output', () => {
  it('a full disk is an error of every command', { skip: skipWithoutFull }, async () => {
    const full = openSync('/dev/full', 'w');
    const lines = [
      'check',
      'check -f json',
      'check -f yaml',
      '--help',
      '--version',
      'help --man',
      'completion bash',
    ];
    for (const line of lines) {
      const { code, stderr } = await nexus(line.split(' '), { stdout: full });
      assert.match(stderr, /cannot write the output: No space left on device/, line);
      assert.equal(code, 3, line);
    }
    closeSync(full);
  });

  it('a reader that has gone is no news', async () => {
    const { code, stderr } = await bash('"$NEXUS" help --man | true; exit ${PIPESTATUS[0]}');
    assert.equal(stderr, '');
    assert.ok(code === 141 || code === 0, `exit code ${code}`); // 0: all of it fitted into the pipe
  });
});
