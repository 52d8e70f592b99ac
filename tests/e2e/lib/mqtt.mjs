// A real MQTT broker, mosquitto with TLS and a password, and somebody who listens to it: as much of
// MQTT 3.1.1 as that takes, with a session that outlives connections.

import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { connect } from 'node:tls';
import { eventually } from './server.mjs';

const BROKER = '/usr/sbin/mosquitto';

/** What node:test's skip option wants: false, or why it can't be. Loud, since it matters. */
export function skipWithoutBroker() {
  if (existsSync(BROKER)) {
    return false;
  }
  console.error('SKIPPED: there is no mosquitto (scripts/bootstrap test)');
  return 'there is no mosquitto';
}

function run(program, ...args) {
  const { status, stderr } = spawnSync(program, args);
  if (status !== 0) {
    throw new Error(`${program}: ${stderr}`);
  }
}

/** A CA of its own: NAME.pem in a folder; sign() makes a certificate of a host. days: how long it is good from now
 * on; less than none: it has ended. */
export function makeCa(folder, name) {
  const file = `${folder}/${name}.pem`;
  const key = `${folder}/${name}.key`;
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  run('openssl', 'req', '-x509', ...curve, '-days', '2', '-subj', `/CN=${name}`, '-keyout', key, '-out', file);
  function sign(host, days = 2) {
    const path = `${folder}/${name}-${host}-${days}`;
    writeFileSync(`${path}.ext`, `subjectAltName=DNS:${host}\n`);
    run('openssl', 'req', ...curve, '-subj', `/CN=${host}`, '-keyout', `${path}.key`, '-out', `${path}.csr`);
    run('openssl', 'x509', '-req', '-in', `${path}.csr`, '-CA', file, '-CAkey', key, '-CAcreateserial', '-days', String(days),
      '-extfile', `${path}.ext`, '-out', `${path}.pem`);
    return { cert: `${path}.pem`, key: `${path}.key` };
  }
  return { file, sign };
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A broker that takes me:secret over TLS only, and keeps what it has taken on its disk at once.
 * kill() is a power cut; start() lets it come back. */
export async function makeBroker(folder, { cert, key }) {
  const port = await freePort();
  const config = `${folder}/mosquitto.conf`;
  const passwords = `${folder}/passwords`;
  let child;
  let log = '';
  writeFileSync(passwords, '');
  run('mosquitto_passwd', '-b', passwords, 'me', 'secret');
  writeFileSync(config, `listener ${port} 127.0.0.1\ncertfile ${cert}\nkeyfile ${key}\nallow_anonymous false\n` +
    `password_file ${passwords}\nuser root\npersistence true\npersistence_location ${folder}/\n` +
    'autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 100000\n');
  async function start() {
    const from = log.length;
    child = spawn(BROKER, ['-c', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (chunk) => (log += chunk);
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    await eventually(() => {
      if (child.exitCode !== null) {
        throw new Error(`mosquitto: ${log}`);
      }
      return log.slice(from).includes(' running');
    }, 'mosquitto runs', 30_000);
  }
  /** kill() it first: it reads them when it starts. */
  function setCertificate(next) {
    copyFileSync(next.cert, cert);
    copyFileSync(next.key, key);
  }
  async function kill() {
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  }
  await start();
  return { port, url: (password) => `mqtts://me:${password}@localhost:${port}`, start, kill, setCertificate };
}

function text(value) {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}

function packet(head, ...parts) {
  const body = Buffer.concat(parts);
  const size = [];
  for (let left = body.length; ; left >>= 7) {
    size.push(left > 127 ? (left & 127) | 128 : left);
    if (left < 128) {
      return Buffer.concat([Buffer.from([head, ...size]), body]);
    }
  }
}

/** The first packet of some bytes: { head, body, rest }; null: it is not all there. */
function first(bytes) {
  let size = 0;
  for (let i = 1; i < bytes.length && i <= 4; i++) {
    size += (bytes[i] & 127) << (7 * (i - 1));
    if (bytes[i] < 128) {
      const end = i + 1 + size;
      return bytes.length < end ? null : { head: bytes[0], body: bytes.subarray(i + 1, end), rest: bytes.subarray(end) };
    }
  }
  return null;
}

/** Listens to every topic, over broken connections, too. each(topic, text): a message. */
export async function listen(port, caFile, each) {
  let socket;
  let ready;
  let closed = false;
  const subscribed = new Promise((resolve) => (ready = resolve));
  function take({ head, body }) {
    switch (head >> 4) {
      case 2: // CONNACK
        socket.write(packet(0x82, Buffer.from([0, 1]), text('#'), Buffer.from([1])));
        break;
      case 9: // SUBACK
        ready();
        break;
      case 3: { // PUBLISH
        const end = 2 + body.readUInt16BE(0);
        const qos = (head >> 1) & 3;
        each(body.subarray(2, end).toString(), body.subarray(end + (qos > 0 ? 2 : 0)).toString());
        if (qos > 0) {
          socket.write(packet(0x40, body.subarray(end, end + 2)));
        }
      }
    }
  }
  function open() {
    let bytes = Buffer.alloc(0);
    socket = connect({ port, host: 'localhost', servername: 'localhost', ca: readFileSync(caFile) });
    socket.on('secureConnect', () => {
      const session = Buffer.from([4, 0xc0, 0, 0]); // MQTT 3.1.1, user and password, no new session, no keepalive
      socket.write(packet(0x10, text('MQTT'), session, text('listener'), text('me'), text('secret')));
    });
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (let one = first(bytes); one !== null; one = first(bytes)) {
        bytes = one.rest;
        take(one);
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => closed || setTimeout(open, 200));
  }
  open();
  await subscribed;
  return {
    close() {
      closed = true;
      socket.destroy();
    },
  };
}
