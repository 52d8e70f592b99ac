// nginx with the files of deploy/nginx, on free ports, in front of servers under test.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './ports.mjs';
import { eventually } from './server.mjs';

const DEPLOY = fileURLToPath(new URL('../../../deploy/nginx/', import.meta.url));
const START_MS = 60_000;
const HOST = 'server 127.0.0.1:8000 max_fails=3 fail_timeout=2s;';
const nginx = ['/usr/sbin/nginx', '/usr/bin/nginx'].find((path) => existsSync(path));

/** What node:test's skip option wants. */
export function skipWithoutNginx() {
  if (nginx !== undefined) {
    return false;
  }
  console.error('SKIPPED: there is no nginx (scripts/bootstrap test)');
  return 'there is no nginx';
}

/** A certificate for localhost that ends in so many days (-1: ended yesterday), signed by itself. */
export function makeCertificate(folder, days = 2) {
  const [key, request, file] = ['privkey.pem', 'request.pem', 'fullchain.pem'].map((name) => join(folder, name));
  const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key,
    '-out', request, '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1');
  openssl('x509', '-req', '-in', request, '-signkey', key, '-days', String(days), '-copy_extensions', 'copy',
    '-out', file);
  return readFileSync(file);
}

/** The file of deploy/nginx, with what is replaced there replaced; each has to be there. */
function adapted(name, changes) {
  let text = readFileSync(join(DEPLOY, name), 'utf8');
  for (const [from, to] of changes) {
    assert.ok(text.includes(from), `${name} has no "${from}"`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/**
 * nginx in front of the servers on these ports. tls: with the certificate that makeCertificate() has
 * made in `folder`/tls, on `port`, and on `plainPort` what sends people there; else on `port` alone.
 * from: the address that it speaks to the servers from. { url, port, plainPort, folder, ca, reload(), stop() }
 */
export async function startNginx(ports, { tls = false, from } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-nginx-'));
  const [port, plainPort] = [await freePort(), await freePort()];
  for (const name of ['tmp', 'nexus', 'tls', 'acme']) {
    mkdirSync(join(folder, name));
  }
  const ca = tls ? makeCertificate(join(folder, 'tls')) : undefined;
  const hosts = ports.map((one) => HOST.replace('8000', String(one))).join('\n');
  writeFileSync(join(folder, 'nexus/nexus-hosts.conf'), adapted('nexus-hosts.conf', [[HOST, hosts]]));
  writeFileSync(join(folder, 'nexus/nexus-locations.conf'), adapted('nexus-locations.conf', []));
  const site = tls
    ? adapted('nexus.conf', [
      ['listen 80;', `listen 127.0.0.1:${plainPort};`], ['listen [::]:80;', ''],
      ['listen 443 ssl http2;', `listen 127.0.0.1:${port} ssl http2;`], ['listen [::]:443 ssl http2;', ''],
      ['/etc/nginx/tls/', `${folder}/tls/`], ['/var/www/acme', `${folder}/acme`],
    ])
    : adapted('nexus-http.conf', [['listen 80;', `listen 127.0.0.1:${port};`], ['listen [::]:80;', '']]);
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/tmp/${kind};`);
  writeFileSync(join(folder, 'nginx.conf'), `
    ${process.getuid() === 0 ? 'user root; ' : ''}daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr;
    events { worker_connections 1024; }
    http { access_log off; ${from ? `proxy_bind ${from};` : ''} ${paths.join(' ')}\n${site}\n}`);
  const proxy = spawn(nginx, ['-c', join(folder, 'nginx.conf'), '-p', folder],
    { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  proxy.stderr.setEncoding('utf8').on('data', (chunk) => { log += chunk; });
  const gone = new Promise((resolve) => { proxy.once('exit', resolve); });
  const plain = `http://127.0.0.1:${tls ? plainPort : port}`;
  await eventually(async () => {
    assert.equal(proxy.exitCode, null, log);
    const answer = await fetch(`${plain}/health`, { redirect: 'manual' }).catch(() => undefined);
    await answer?.arrayBuffer();
    return answer?.status === (tls ? 308 : 200);
  }, 'nginx serves', START_MS);
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    plainUrl: plain,
    folder,
    ca,
    logs: () => log,
    reload: () => proxy.kill('SIGHUP'),
    async stop() {
      proxy.kill('SIGTERM');
      await gone;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
