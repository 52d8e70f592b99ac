// The files for containers. No container engine runs them here: they are held against their schemas, and
// against each other, the program's settings, the servers' paths and the tuning guide's figures.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { nexus, skipWithout } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutNginx } from './lib/nginx.mjs';
import { skipWithoutShared, startServer } from './lib/server.mjs';

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL('../../', import.meta.url));
const needed = ['yaml', 'dclint', 'dockerfile-utils', 'kubernetes-models', 'ajv'];
const missing = needed.filter((name) => !existsSync(join(root, 'tests/e2e/node_modules', name)));
const skip = missing.length > 0 && `${missing} missing (scripts/packages tests/e2e)`;
if (skip) {
  console.error(`SKIPPED: ${skip}`);
}
const text = (path) => readFileSync(join(root, path), 'utf8');
const yaml = (path) => require('yaml').parse(text(path), { merge: true });
const documents = (path) => require('yaml').parseAllDocuments(text(path), { merge: true }).map((one) => {
  assert.deepEqual(one.errors, [], path);
  return one.toJS();
});
const COMPOSE = 'deploy/compose/docker-compose.yml';
const GPU = 'deploy/compose/docker-compose.gpu.yml';
const DOCKERFILE = 'deploy/docker/Dockerfile';
const USER = 10001;
const SECONDS_TO_DRAIN = 30;

/** The names that the environment may have, of `nexus check`; files of secrets besides. */
async function settingNames() {
  const { stdout } = await nexus(['check', '--format', 'json', '--data-dir', '/nonexistent']);
  const { configuration } = JSON.parse(stdout);
  return new Set(configuration.flatMap(({ environment, secret }) =>
    secret ? [environment, `${environment}_FILE`] : [environment]));
}

/** The program takes this environment: each value is one that the setting may have. */
async function takes(environment, folder) {
  const env = { ...environment, NEXUS_DATA_DIR: folder };
  for (const name of Object.keys(env).filter((one) => one.endsWith('_FILE'))) {
    env[name] = join(folder, 'secret');
    writeFileSync(env[name], name.startsWith('REDIS') ? 'redis://127.0.0.1:1/0\n' : 'sqlite:/nonexistent/nexus.db\n', { mode: 0o600 });
  }
  const { stdout, stderr } = await nexus(['check', '--format', 'json'], { env });
  const [first] = JSON.parse(stdout || '{"checks":[{"status":"none"}]}').checks;
  assert.notEqual(first.status, 'failed', `${first.detail}\n${stderr}`);
  assert.equal(first.name, 'configuration', stderr);
}

describe('the image', { skip }, () => {
  const instructions = () => require('dockerfile-ast').DockerfileParser.parse(text(DOCKERFILE)).getInstructions();
  const named = (keyword) => instructions().filter((one) => one.getKeyword() === keyword);
  const environment = () => Object.fromEntries(named('ENV').flatMap((one) =>
    one.getProperties().map((property) => [property.getName(), property.getValue()])));

  it('has a Dockerfile in which a linter finds nothing', () => {
    const problems = require('dockerfile-utils').validate(text(DOCKERFILE));
    assert.deepEqual(problems.map(({ message, range }) => `${range.start.line + 1}: ${message}`), []);
  });

  it('copies what is there, and what .dockerignore lets through', () => {
    const { status, stdout } = spawnSync('git', ['-C', root, 'ls-files'], { encoding: 'utf8', maxBuffer: 1e8 });
    assert.equal(status, 0);
    const rules = text('.dockerignore').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const let_through = (path) => rules.reduce((kept, rule) => {
      const pattern = rule.replace('!', '');
      const hit = pattern === '*' || path === pattern || path.startsWith(`${pattern}/`);
      return hit ? rule.startsWith('!') : kept;
    }, true);
    const context = stdout.trim().split('\n').filter(let_through);
    for (const copy of named('COPY').filter((one) => !one.getFlags().some((flag) => flag.getName() === 'from'))) {
      const sources = copy.getArguments().slice(0, -1).map(String);
      for (const source of sources.filter((one) => one !== '.')) {
        assert.ok(context.some((path) => path === source || path.startsWith(`${source}/`)), source);
      }
    }
    for (const path of ['Makefile', 'meson.build', 'web/package-lock.json', 'src/main.c', 'scripts/bootstrap', 'openapi.yaml',
      'bench/load.c', 'tests/unit/meson.build', 'tests/fuzz/meson.build', 'deploy/deb/control.in', 'deploy/systemd/nexus.service']) {
      assert.ok(context.includes(path), `${path} is not in the context`);
    }
    assert.ok(!context.some((path) => /^(docs|tests\/e2e)\//.test(path)));
    const folder = mkdtempSync(join(tmpdir(), 'nexus-context-'));
    try { // the build can be set up from these files alone
      context.filter((path) => !/\.(png|jpg)$/.test(path)).forEach((path) => {
        mkdirSync(join(folder, path, '..'), { recursive: true });
        cpSync(join(root, path), join(folder, path));
      });
      const header = join(process.env.XDG_DATA_HOME ?? join(process.env.HOME, '.local/share'), 'nexus/include/onnxruntime');
      const setup = spawnSync('meson', ['setup', join(folder, 'build'), `-Dort_include=${header}`],
        { cwd: folder, encoding: 'utf8' });
      assert.equal(setup.status, 0, setup.stdout + setup.stderr);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('sets what the program knows, and is not root', async () => {
    const known = await settingNames();
    const outside = ['LD_LIBRARY_PATH', 'NVIDIA_VISIBLE_DEVICES', 'NVIDIA_DRIVER_CAPABILITIES'];
    const strange = Object.keys(environment()).filter((name) => !known.has(name) && !outside.includes(name));
    assert.deepEqual(strange, []);
    assert.equal(environment().NEXUS_HOST, '0.0.0.0');
    const users = named('USER').map((one) => one.getArgumentsContent());
    assert.deepEqual([...new Set(users)], [`${USER}:${USER}`]);
    assert.match(text(DOCKERFILE), new RegExp(`useradd .*--uid ${USER}`));
    assert.deepEqual(named('EXPOSE').map((one) => one.getArgumentsContent()), ['8000']);
    assert.match(text(DOCKERFILE), /^FROM debian:12-slim AS program$/m);
  });

  it('has a health check that tells a server that answers from none', { skip: skipWithoutShared() }, async () => {
    const check = (port) => spawnSync(join(root, 'deploy/docker/health'),
      { env: { ...process.env, NEXUS_PORT: String(port) }, encoding: 'utf8' }).status;
    const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    const server = await startServer({ args: ['--data-dir', data.path], env: { DATABASE_URL: '', OBJECTS_URL: '' } });
    assert.equal(check(server.port), 0);
    await server.stop();
    assert.notEqual(check(server.port), 0);
    data.remove();
  });
});

describe('compose', { skip }, () => {
  const services = () => yaml(COMPOSE).services;
  const ours = ['backend', 'worker'];
  let folder;
  before(() => { folder = mkdtempSync(join(tmpdir(), 'nexus-compose-')); });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const file of [COMPOSE, GPU]) {
    it(`${file} is valid by the Compose Specification`, () => {
      const schema = JSON.parse(text('tests/e2e/node_modules/dclint/schemas/compose.schema.json'));
      delete schema.$schema; // ajv's own draft 7, without fetching it
      const Ajv = require('ajv');
      const valid = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(schema);
      assert.ok(valid(yaml(file)), JSON.stringify(valid.errors, null, 1));
    });
  }

  it('mounts what is there, and make-secrets makes the rest', () => {
    const copy = join(folder, 'compose');
    cpSync(join(root, 'deploy/compose'), copy, { recursive: true, filter: (path) => !/(secrets|tls)$/.test(path) || /make-secrets$/.test(path) });
    const run = () => execFileSync(join(copy, 'make-secrets'), { encoding: 'utf8' });
    run();
    const secrets = Object.values(yaml(COMPOSE).secrets).map(({ file }) => join(copy, file));
    const first = secrets.map((file) => readFileSync(file, 'utf8'));
    assert.ok(first.every((value) => value.length > 5));
    assert.equal(statSync(join(copy, 'secrets')).mode & 0o777, 0o700);
    run();
    assert.deepEqual(secrets.map((file) => readFileSync(file, 'utf8')), first, 'what is there stays');
    assert.ok(existsSync(join(copy, 'tls/fullchain.pem')) && existsSync(join(copy, 'tls/privkey.pem')));
    const known = new Set(Object.keys(yaml(COMPOSE).volumes));
    for (const [name, service] of Object.entries(services())) {
      for (const from of (service.volumes ?? []).map((volume) => volume.split(':')[0])) {
        const is = from.startsWith('.') ? from === './tls' || existsSync(join(root, 'deploy/compose', from))
          : from === '/' || known.has(from);
        assert.ok(is, `${name}: ${from}`);
      }
      for (const secret of service.secrets ?? []) {
        assert.ok(secret in yaml(COMPOSE).secrets, `${name}: ${secret}`);
      }
    }
    const database = readFileSync(join(copy, 'secrets/database_url'), 'utf8');
    assert.equal(database.trim(), `postgres://nexus:${readFileSync(join(copy, 'secrets/postgres_password'), 'utf8').trim()}@postgres/nexus`);
  });

  it('sets what the program knows, to values that it takes', async () => {
    const known = await settingNames();
    const sets = [...ours.map((name) => services()[name]), ...ours.map((name) => yaml(GPU).services[name])];
    for (const { environment } of sets) {
      assert.deepEqual(Object.keys(environment).filter((name) => !known.has(name)), []);
      await takes(Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, String(value)])), folder);
    }
  });

  it('has the limits and the tuning of the guide', () => {
    const { backend, worker, postgres, grafana } = services();
    const limits = ({ deploy, shm_size }) => {
      const plain = (value) => value.replace(/^\$\{\w+:-(.*)\}$/, '$1');
      const { limits: most, reservations } = deploy.resources;
      return [plain(most.cpus), plain(most.memory), plain(reservations.memory), shm_size];
    };
    assert.deepEqual(limits(backend), ['4', '8g', '4g', '2gb']);
    assert.deepEqual(limits(worker), ['8', '16g', '8g', '4gb']);
    assert.equal(postgres.shm_size, '256mb');
    assert.deepEqual(grafana.ports, ['127.0.0.1:3001:3000']);
    const of = (service, names) => names.map((name) => String(service.environment[name]));
    assert.deepEqual(of(backend, ['KEEPALIVE', 'LIMIT_CONCURRENCY', 'BACKLOG', 'DB_POOL_SIZE', 'DB_MAX_OVERFLOW', 'DB_POOL_TIMEOUT',
      'DB_POOL_RECYCLE', 'DB_POOL_PRE_PING', 'DB_ECHO', 'LOG_LEVEL', 'INFERENCE_QUEUE_SIZE']),
    ['75', '1000', '2048', '50', '25', '10', '1800', 'true', 'false', 'warning', '256']);
    assert.deepEqual(of(backend, ['PREDICTIONS', 'VIDEOS', 'SESSIONS', 'RESPONSES'].map((name) => `CACHE_TTL_${name}`)),
      ['300', '900', '3600', '120']);
    assert.deepEqual(of(worker, ['CONCURRENCY', 'PREFETCH_MULTIPLIER', 'MAX_TASKS_PER_CHILD', 'LOG_LEVEL']), ['8', '4', '100', 'warning']);
    // two of each stay below PostgreSQL's limit
    const connections = (service) => of(service, ['DB_POOL_SIZE', 'DB_MAX_OVERFLOW']).reduce((sum, n) => sum + Number(n), 0);
    const most = Number(/^max_connections = (\d+)/m.exec(text('deploy/postgres/postgresql.conf'))[1]);
    assert.ok(2 * connections(backend) + 2 * connections(worker) < most);
  });

  it('gives nobody more than is needed', () => {
    for (const [name, service] of Object.entries(services())) {
      assert.ok(!service.privileged && service.network_mode !== 'host', name);
      assert.ok(service.security_opt.includes('no-new-privileges:true'), name);
      const published = (service.ports ?? []).filter((port) => !port.startsWith('127.0.0.1:'));
      assert.deepEqual(published, name === 'nginx' ? ['80:80', '443:443'] : [], name);
      if (name !== 'postgres') {
        assert.equal(service.read_only, true, name);
        assert.deepEqual(service.cap_drop, ['ALL'], name);
      }
    }
    for (const name of ours) {
      assert.ok(parseInt(services()[name].stop_grace_period, 10) > SECONDS_TO_DRAIN);
    }
  });

  it('scrapes its services, by the rules of deploy/prometheus', { skip: skipWithout('promtool') }, () => {
    const own = yaml('deploy/compose/prometheus.yml');
    const usual = yaml('deploy/prometheus/prometheus.yml');
    const jobs = ({ scrape_configs: configs }) => configs.map(({ job_name: name }) => name);
    assert.deepEqual(jobs(own), jobs(usual));
    assert.deepEqual([own.global, own.rule_files], [usual.global, usual.rule_files]);
    const targets = [...own.alerting.alertmanagers, ...own.scrape_configs]
      .flatMap(({ static_configs: fixed = [], dns_sd_configs: looked = [] }) =>
        [...fixed.flatMap((one) => one.targets), ...looked.flatMap(({ names, port }) => names.map((name) => `${name}:${port}`))]);
    for (const target of targets) {
      const [name, port] = target.split(':');
      assert.ok(services()[name]?.expose.includes(port), target);
    }
    const copy = join(folder, 'prometheus');
    cpSync(join(root, 'deploy/prometheus/rules'), join(copy, 'rules'), { recursive: true });
    writeFileSync(join(copy, 'key'), 'key');
    writeFileSync(join(copy, 'prometheus.yml'), text('deploy/compose/prometheus.yml').replace('/run/secrets/metrics_key', join(copy, 'key')));
    execFileSync('promtool', ['check', 'config', join(copy, 'prometheus.yml')], { stdio: 'pipe' });
  });

  it('shows the dashboards of deploy/grafana', () => {
    const mounts = Object.fromEntries(services().grafana.volumes.map((volume) => volume.split(':').reverse().slice(1)));
    const provider = yaml('deploy/grafana/provisioning/dashboards/nexus.yml').providers[0];
    assert.equal(mounts[provider.options.path], '../grafana/dashboards');
    assert.equal(mounts['/etc/grafana/provisioning/dashboards'], '../grafana/provisioning/dashboards');
    const [own, usual] = ['deploy/compose/grafana-datasource.yml', 'deploy/grafana/provisioning/datasources/prometheus.yml']
      .map((path) => yaml(path).datasources[0]);
    assert.deepEqual({ ...own, url: '' }, { ...usual, url: '' });
    const [, name, port] = /^http:\/\/(\w+):(\d+)$/.exec(own.url);
    assert.ok(services()[name].expose.includes(port));
    const home = services().grafana.environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH;
    assert.ok(existsSync(join(root, home.replace('/etc/grafana', 'deploy/grafana'))), home);
  });

  it('has nginx with the same site, hosts that it looks up, and paths that are mounted', { skip: skipWithoutNginx() }, () => {
    const mounts = Object.fromEntries(services().nginx.volumes.map((volume) => volume.split(':').reverse().slice(1)));
    assert.equal(mounts['/etc/nginx/tls'], './tls');
    const plain = (file) => text(file).split('\n').filter((line) => !/^\s*(#|$|zone|resolver)/.test(line))
      .map((line) => line.replace(/server (backend|127\.0\.0\.1):8000( resolve)?/, 'server HOST'));
    assert.deepEqual(plain('deploy/compose/nginx-hosts.conf'), plain('deploy/nginx/nexus-hosts.conf'));
    const copy = join(folder, 'nginx');
    mkdirSync(join(copy, 'nexus'), { recursive: true });
    mkdirSync(join(copy, 'tls'));
    for (const path of readdirSync(join(root, 'deploy/nginx'))) {
      cpSync(join(root, 'deploy/nginx', path), join(copy, 'nexus', path));
    }
    // Debian 12's nginx can't look names up again, which 1.27.3 can
    writeFileSync(join(copy, 'nexus/nexus-hosts.conf'), text('deploy/compose/nginx-hosts.conf').replaceAll('backend:8000 resolve', '127.0.0.1:8000'));
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-subj',
      '/CN=localhost', '-keyout', join(copy, 'tls/privkey.pem'), '-out', join(copy, 'tls/fullchain.pem')], { stdio: 'ignore' });
    writeFileSync(join(copy, 'nexus/nexus.conf'), text('deploy/nginx/nexus.conf').replaceAll('/etc/nginx/tls', join(copy, 'tls')));
    writeFileSync(join(copy, 'nginx.conf'), `pid ${copy}/pid; error_log stderr; events {} http { access_log off; include nexus/nexus.conf; }`);
    const { status, stderr } = spawnSync('nginx', ['-t', '-c', join(copy, 'nginx.conf'), '-p', copy], { encoding: 'utf8', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
    assert.equal(status, 0, stderr);
  });
});

describe('Kubernetes', { skip }, () => {
  const kustomization = () => yaml('deploy/k8s/kustomization.yaml');
  const all = () => kustomization().resources.flatMap((file) => documents(`deploy/k8s/${file}`));
  const apart = () => ['secret.example.yaml', 'first-user.yaml'].flatMap((file) => documents(`deploy/k8s/${file}`));
  const of = (kind) => all().filter((one) => one.kind === kind);
  const pods = () => [...of('Deployment'), ...apart().filter(({ kind }) => kind === 'Job')].map(({ metadata, spec }) =>
    ({ name: metadata.name, labels: spec.template.metadata.labels, spec: spec.template.spec }));
  const backend = () => pods().find(({ name }) => name === 'nexus-backend');
  const matches = (labels, { matchLabels }) => Object.entries(matchLabels).every(([name, value]) => labels[name] === value);

  it('each object is valid by Kubernetes’ schema', async () => {
    for (const object of [...all(), ...apart()]) {
      const { [object.kind]: Model } = await import(`kubernetes-models/${object.apiVersion}`);
      assert.doesNotThrow(() => new Model(object).validate(), `${object.kind} ${object.metadata.name}`);
    }
    const { Deployment } = await import('kubernetes-models/apps/v1');
    const wrong = structuredClone(of('Deployment')[0]);
    wrong.spec.template.spec.containers[0].ports = 8000;
    assert.throws(() => new Deployment(wrong).validate(), /ports/); // it does look
  });

  it('kustomize makes one set of them', { skip: skipWithout('kubectl') }, () => {
    const made = execFileSync('kubectl', ['kustomize', join(root, 'deploy/k8s')], { encoding: 'utf8' });
    const objects = require('yaml').parseAllDocuments(made).map((one) => one.toJS());
    assert.equal(objects.length, all().length + 1); // and the settings
    const [settings] = objects.filter(({ kind }) => kind === 'ConfigMap');
    for (const { metadata, kind, spec } of objects) {
      assert.ok(kind === 'Namespace' || metadata.namespace === 'nexus', `${kind} ${metadata.name}`);
      if (kind === 'Deployment') {
        const [container] = spec.template.spec.containers;
        assert.ok(container.envFrom.some(({ configMapRef }) => configMapRef?.name === settings.metadata.name));
        // what the policies on what may go out select
        assert.equal(spec.template.metadata.labels['app.kubernetes.io/part-of'], 'nexus');
        assert.ok(!('app.kubernetes.io/part-of' in spec.selector.matchLabels));
      }
    }
  });

  it('selects pods that there are', () => {
    for (const deployment of of('Deployment')) {
      assert.ok(matches(deployment.spec.template.metadata.labels, deployment.spec.selector));
    }
    const [service] = of('Service');
    assert.ok(matches(backend().labels, { matchLabels: service.spec.selector }));
    assert.ok(backend().spec.containers[0].ports.some(({ name }) => name === service.spec.ports[0].targetPort));
    for (const { metadata, spec } of [...of('PodDisruptionBudget')]) {
      assert.ok(pods().some(({ labels }) => matches(labels, spec.selector)), metadata.name);
    }
    for (const { spec } of of('HorizontalPodAutoscaler')) {
      assert.ok(of('Deployment').some(({ metadata }) => metadata.name === spec.scaleTargetRef.name));
    }
    for (const { spec } of of('Ingress')) {
      for (const { backend: to } of spec.rules.flatMap(({ http }) => http.paths)) {
        assert.deepEqual([to.service.name, to.service.port.name], [service.metadata.name, service.spec.ports[0].name]);
      }
    }
  });

  it('sets what the program knows, to values that it takes', async () => {
    const known = await settingNames();
    const common = Object.fromEntries(text('deploy/k8s/settings.env').split('\n').filter((line) => /^\w+=/.test(line))
      .map((line) => line.split(/=(.*)/s).slice(0, 2)));
    const secrets = Object.keys(apart().find(({ kind }) => kind === 'Secret').stringData);
    const folder = mkdtempSync(join(tmpdir(), 'nexus-k8s-'));
    for (const { spec } of pods()) {
      const fixed = (spec.containers[0].env ?? []).filter(({ valueFrom }) => !valueFrom); // others are the pod's own
      const own = Object.fromEntries(fixed.map(({ name, value }) => [name, value]));
      const names = [...Object.keys({ ...common, ...own }), ...secrets];
      assert.deepEqual(names.filter((name) => !known.has(name)), []);
      await takes({ ...common, ...own, OBJECTS_URL: '' }, folder);
    }
    rmSync(folder, { recursive: true, force: true });
  });

  it('runs as nobody in particular, with limits, and lets it drain', () => {
    for (const { name, spec } of pods()) {
      const { securityContext: pod } = spec;
      assert.deepEqual([pod.runAsNonRoot, pod.runAsUser, pod.seccompProfile.type], [true, USER, 'RuntimeDefault'], name);
      for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
        const { securityContext: own } = container;
        assert.deepEqual([own.allowPrivilegeEscalation, own.readOnlyRootFilesystem, own.capabilities.drop], [false, true, ['ALL']]);
        assert.ok(container.resources.requests.memory && container.resources.limits.memory, container.name);
      }
    }
    for (const { spec } of of('Deployment')) {
      assert.ok(spec.template.spec.terminationGracePeriodSeconds > SECONDS_TO_DRAIN);
    }
    const [container] = backend().spec.containers;
    assert.ok(Number(container.env.find(({ name }) => name === 'DRAIN_DELAY').value) > 2 * container.readinessProbe.periodSeconds);
  });

  it('asks paths that the server answers', { skip: skipWithoutShared() }, async () => {
    const [container] = backend().spec.containers;
    const paths = ['startupProbe', 'readinessProbe', 'livenessProbe'].map((probe) => container[probe].httpGet.path);
    const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    const server = await startServer({ args: ['--data-dir', data.path], env: { DATABASE_URL: '', OBJECTS_URL: '' } });
    for (const path of paths) {
      assert.equal((await fetch(server.url + path)).status, 200, path);
    }
    // and scales by metrics that it has
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    const adapter = yaml('deploy/k8s/prometheus-adapter.yaml').rules;
    for (const { seriesQuery } of [...adapter.custom, ...adapter.external]) {
      assert.match(metrics, new RegExp(`^${/^\w+/.exec(seriesQuery)[0]}\\b`, 'm'));
    }
    const asked = of('HorizontalPodAutoscaler').flatMap(({ spec }) => spec.metrics)
      .map((one) => (one.pods ?? one.external)?.metric.name).filter(Boolean);
    const given = [...adapter.custom, ...adapter.external].map(({ name, seriesQuery }) => name?.as ?? /^\w+/.exec(seriesQuery)[0]);
    assert.deepEqual(asked.sort(), given.sort());
    await server.stop();
    data.remove();
  });
});
