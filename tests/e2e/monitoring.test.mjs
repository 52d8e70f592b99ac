// deploy's Prometheus in front of a server that works, with PostgreSQL, Redis and their exporters:
// every expression of every dashboard and rule finds data. The rules' own tests show alerts firing.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { skipWithout } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { freePort } from './lib/ports.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { skipWithoutRedis, startRedis } from './lib/redis.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const deploy = (path) => fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url));
const run = promisify(execFile);
const WAIT_MS = 60_000;
const EXPORTERS = {
  postgres: 'prometheus-postgres-exporter', redis: 'prometheus-redis-exporter', node: 'prometheus-node-exporter',
};
// without a GPU nothing says how busy it is
const NEEDS_GPU = /^gpu_/;

const dashboards = readdirSync(deploy('grafana/dashboards')).map((name) =>
  JSON.parse(readFileSync(deploy(`grafana/dashboards/${name}`), 'utf8')));

/** A program that serves until it is stopped. */
function start(program, args, env = {}) {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (chunk) => { log = (log + chunk).slice(-4000); });
  const ended = new Promise((resolve) => { child.once('close', resolve); });
  return {
    log: () => log,
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

describe('what is said in advance', { skip: skipWithout('promtool') || skipWithout('amtool') }, () => {
  it('is valid to the programs that read it', async () => {
    await run('promtool', ['check', 'config', deploy('prometheus/prometheus.yml')]);
    await run('amtool', ['check-config', deploy('alertmanager/alertmanager.yml')]);
  });

  it('alerts when something is wrong, and not when all is well', async () => {
    await run('promtool', ['test', 'rules', deploy('prometheus/tests/alerts_test.yml')]);
  });
});

describe('dashboards', () => {
  it('have panels with ids and places of their own, and one data source', () => {
    assert.deepEqual(dashboards.map(({ uid }) => uid).sort(),
      ['nexus-api', 'nexus-database', 'nexus-inference', 'nexus-system']);
    for (const { uid, panels } of dashboards) {
      assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, uid);
      for (const panel of panels.filter(({ type }) => type !== 'row')) {
        assert.ok(panel.targets.length > 0 && panel.title !== '', `${uid}: ${panel.title}`);
        assert.ok(panel.targets.every(({ datasource }) => datasource.uid === 'prometheus'), panel.title);
        const { x, y, w, h } = panel.gridPos;
        assert.ok(x + w <= 24, `${uid}: ${panel.title}`);
        const over = panels.find(({ id, gridPos: other }) => id !== panel.id && other.x < x + w &&
          x < other.x + other.w && other.y < y + h && y < other.y + other.h);
        assert.equal(over, undefined, `${uid}: ${panel.title} lies on ${over?.title}`);
      }
    }
  });
});

const skip = skipWithoutShared() || skipWithoutPostgres() || skipWithoutRedis() || skipWithout('prometheus') ||
  Object.values(EXPORTERS).map(skipWithout).find(Boolean);

describe('Prometheus beside a server that works', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-prometheus-'));
  const started = [];
  let data;
  let postgres;
  let redis;
  let server;
  let url;
  let stopped = false;
  let work;

  async function configure(targets) {
    const config = readFileSync(deploy('prometheus/prometheus.yml'), 'utf8')
      .replaceAll('15s', '1s')
      .replace('rules/*.yml', deploy('prometheus/rules/*.yml'))
      .replace(/'127\.0\.0\.1:(8000|9187|9121|9100)'/g, (_, port) => `'127.0.0.1:${targets[port]}'`);
    writeFileSync(join(folder, 'prometheus.yml'), config);
  }

  /** Requests of several kinds, again and again: known and new pictures, lists, one that fails. */
  async function load() {
    const picture = readFileSync(sharedPath('images/bus.jpg'));
    const post = (query) => fetch(`${server.url}/api/v1/inference/image?${query}`, {
      method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: picture,
    });
    for (let i = 0; !stopped; i++) {
      const answers = await Promise.all([
        post('confidence=0.3'), post(`confidence=${0.3 + (i % 1000) / 5000}`),
        fetch(`${server.url}/api/v1/jobs`), fetch(`${server.url}/api/v1/videos/none`),
      ]);
      await Promise.all(answers.map((answer) => answer.text()));
    }
  }

  before(async () => {
    [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
    postgres.query('CREATE EXTENSION pg_stat_statements');
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({
      args: ['--data-dir', data.path],
      env: {
        DATABASE_URL: postgres.url, REDIS_URL: redis.url, CACHE_TTL_PREDICTIONS: '300', STREAM_FILES_DIR: data.path,
      },
    });
    copyFileSync(sharedPath('videos/car-detection.mp4'), join(data.path, 'loop.mp4'));
    const camera = await fetch(`${server.url}/api/v1/streams`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'gate', url: 'file:loop.mp4', fps: 2 }),
    });
    assert.equal(camera.status, 201, await camera.text());
    const [sql, cache, node, port] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
    const { searchParams } = new URL(postgres.url.replace('@/', '@socket/'));
    started.push(
      start(EXPORTERS.postgres, [`--web.listen-address=127.0.0.1:${sql}`,
        `--extend.query-path=${deploy('prometheus/postgres_queries.yaml')}`],
      { DATA_SOURCE_NAME: `user=nexus dbname=postgres sslmode=disable host=${searchParams.get('host')}` }),
      start(EXPORTERS.redis, ['-web.listen-address', `127.0.0.1:${cache}`, '-redis.addr', `unix://${redis.socket}`]),
      start(EXPORTERS.node, [`--web.listen-address=127.0.0.1:${node}`]));
    await configure({ 8000: server.port, 9187: sql, 9121: cache, 9100: node });
    started.push(start('prometheus', [`--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`]));
    url = `http://127.0.0.1:${port}`;
    work = load();
  });

  after(async () => {
    stopped = true;
    await work?.catch(() => {}); // the test that needs it has failed by then
    await Promise.all(started.map((one) => one.stop()));
    await server?.stop();
    await Promise.all([postgres?.remove(), redis?.remove()]);
    data?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  const api = async (path) => (await (await fetch(`${url}/api/v1/${path}`)).json()).data;

  async function values(expr) {
    const answer = await (await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`)).json();
    assert.equal(answer.status, 'success', `${expr}: ${answer.error}`);
    return answer.data.result.map(({ value }) => Number(value[1]));
  }
  const finds = (expr) => eventually(async () => (await values(expr)).some((value) => !Number.isNaN(value)),
    `data for ${expr}`, WAIT_MS);

  it('scrapes all four', async () => {
    const up = async () => (await api('targets').catch(() => ({ activeTargets: [] }))).activeTargets
      .filter(({ health }) => health === 'up').map(({ labels }) => labels.job).sort();
    await eventually(async () => (await up()).length === 4, 'all are up', WAIT_MS)
      .catch((error) => { throw new Error(error.message + started.map((one) => one.log()).join('\n')); });
    assert.deepEqual(await up(), ['nexus', 'node', 'postgres', 'redis']);
  });

  for (const { title, panels, templating } of dashboards) {
    it(`has data for all of ${title}`, async (t) => {
      const targets = panels.flatMap((panel) => (panel.targets ?? []).map(({ expr }) => expr));
      for (const expr of targets.filter((one) => !NEEDS_GPU.test(one))) {
        await finds(expr.replaceAll('$__rate_interval', '30s').replaceAll('$instance', '.*'));
      }
      const without = targets.filter((one) => NEEDS_GPU.test(one)).length;
      if (without > 0) {
        t.diagnostic(`SKIPPED: ${without} expressions need a GPU`);
      }
      for (const { definition } of templating.list) {
        const [, metric, label] = /^label_values\((.+), (\w+)\)$/.exec(definition);
        const { length } = await api(`label/${label}/values?match[]=${encodeURIComponent(metric)}`);
        assert.ok(length > 0, definition);
      }
    });
  }

  it('has data for every rule', async () => {
    let groups;
    await eventually(async () => {
      ({ groups } = await api('rules'));
      return groups.flatMap((group) => group.rules).every(({ health }) => health === 'ok');
    }, 'all rules are evaluated', WAIT_MS);
    const rules = groups.flatMap((group) => group.rules);
    for (const rule of rules.filter(({ type }) => type === 'recording')) {
      await finds(rule.name);
    }
    for (const { name, query } of rules.filter(({ type }) => type === 'alerting')) {
      // an alert is silent while all is well, so each side of its comparisons is asked
      const sides = query.split(/ and (?:on \(\w+\) )?/).map((one) => one.replace(/ (==|>|<) [\d.]+$/, ''));
      assert.notDeepEqual(sides, [query], `${name} compares with a number`);
      for (const side of sides) {
        await finds(side);
      }
    }
  });

  it('loses nothing by it: the load was answered', async () => {
    const [wrong] = await values('sum(http_requests_total{job="nexus",status=~"5.."}) or vector(0)');
    assert.equal(wrong, 0);
    assert.deepEqual((await api('alerts')).alerts.filter(({ state }) => state === 'firing'), []);
  });
});
