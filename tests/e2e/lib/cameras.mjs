// Cameras of a test's own: GStreamer's RTSP server, and multipart JPEG over HTTP from this process.

import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, createServer as createSocketServer } from 'node:net';
import { basename, join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('rtsp_server.py', import.meta.url));
const PYTHON = '/usr/bin/python3'; // Debian's, whose packages have GStreamer

/** What node:test's skip option wants: false, or why it can't be. Loud, since it matters. */
function skipUnless(program, args, reason) {
  if (spawnSync(program, args).status === 0) {
    return false;
  }
  console.error(`SKIPPED: ${reason} (scripts/bootstrap test)`);
  return reason;
}

export const skipWithoutFfmpeg = () => skipUnless('ffmpeg', ['-version'], 'there is no ffmpeg');

export function skipWithoutRtsp() {
  const probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer";
  return skipWithoutFfmpeg() || skipUnless(PYTHON, ['-c', probe], 'there is no RTSP server of GStreamer');
}

function runFfmpeg(...args) {
  const { status, stdout, stderr } = spawnSync('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args], { maxBuffer: 64 << 20 });
  if (status !== 0) {
    throw new Error(`ffmpeg: ${stderr}`);
  }
  return stdout;
}

/** Makes an MP4 with H.264 of a video's first seconds, shown `times` times, scaled down. */
export function makeClip(from, to, { seconds, times = 1, fps = 10 }) {
  const one = times === 1 ? to : `${to}.part.mp4`;
  const codec = ['-c:v', 'libx264', '-preset', 'veryfast', '-g', String(fps), '-bf', '0', '-threads', '1'];
  runFfmpeg('-i', from, '-t', String(seconds), '-an', '-vf', `scale=640:-2,fps=${fps}`, ...codec, one);
  if (times > 1) {
    runFfmpeg('-stream_loop', String(times - 1), '-i', one, '-c', 'copy', to);
  }
}

/** What FFmpeg makes a picture of: grey noise, which is large, with a red square of 8 in each 64. */
function crowd(side, seconds, fps) {
  const red = 'lt(mod(X,64),8)*lt(mod(Y,64),8)';
  const noise = '(128+120*(random(0)-0.5))';
  const colour = (inside) => `if(${red},${inside},${noise})`;
  const source = `nullsrc=s=${side}x${side}:r=${fps}:d=${seconds}`;
  return ['-f', 'lavfi', '-i', `${source},geq=r='${colour(255)}':g='${colour(0)}':b='${colour(0)}'`];
}

/** A JPEG of side x side pixels of a crowd. */
export const makeCrowd = (side) =>
  runFfmpeg(...crowd(side, 1, 1), '-frames:v', '1', '-q:v', '2', '-f', 'image2', '-c:v', 'mjpeg', '-');

/** An MP4 with H.264 of a crowd: over a megabyte a second. */
export const makeCrowdClip = (side, to, { seconds, fps = 10, crf = 4 }) =>
  runFfmpeg(...crowd(side, seconds, fps), '-c:v', 'libx264', '-preset', 'ultrafast', '-crf', String(crf), '-g', String(fps),
    '-bf', '0', '-threads', '1', '-pix_fmt', 'yuv420p', to);

/** Starts an RTSP camera that shows an MP4 file. kill() ends it as a power cut does. */
export async function startRtsp(file, port = 0) {
  const child = spawn(PYTHON, [script, file, String(port)], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const bound = await new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const match = /port (\d+)/.exec(text);
      if (match) {
        resolve(Number(match[1]));
      }
    });
    child.stderr.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    child.once('exit', () => reject(new Error(`no RTSP server: ${text}`)));
  });
  async function kill() {
    child.kill('SIGKILL');
    await exited;
  }
  return { port: bound, url: `rtsp://me:secret@127.0.0.1:${bound}/cam?token=secret`, signal: (s) => child.kill(s), kill };
}

/** Starts a camera that sends a JPEG again and again to whoever has the right password. */
export async function startMjpeg(jpeg, { fps = 5 } = {}) {
  const right = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  const server = createServer((request, response) => {
    if (request.headers.authorization !== right) {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="camera"' }).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': 'multipart/x-mixed-replace; boundary=part' });
    const send = () => {
      response.write(`--part\r\nContent-Type: image/jpeg\r\nContent-Length: ${jpeg.length}\r\n\r\n`);
      response.write(jpeg);
      response.write('\r\n');
    };
    const timer = setInterval(send, 1000 / fps);
    response.once('close', () => clearInterval(timer));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  function close() {
    server.closeAllConnections();
    server.close();
  }
  return { url: `http://me:secret@127.0.0.1:${server.address().port}/video`, close };
}

/** Something that greets like a camera, answers with bytes that are no protocol, and hangs up. */
export async function startLiar() {
  const sockets = new Set();
  const server = createSocketServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    socket.once('data', () => socket.end(Buffer.concat([Buffer.from('RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n'), Buffer.alloc(4096, 0xa5)])));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  function close() {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  }
  return { url: `rtsp://me:secret@127.0.0.1:${server.address().port}/cam`, close };
}

/** Starts a camera that writes an endless HLS playlist of one-second pieces and serves it, with a
 * password. baseUrl: what stands before the names of pieces; with HOST for host and port. */
export async function startHls(file, folder, { baseUrl = '' } = {}) {
  const right = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  const asked = [];
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://camera').pathname;
    asked.push(path);
    if (request.headers.authorization !== right) {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="camera"' }).end();
      return;
    }
    try {
      const body = readFileSync(join(folder, basename(path)));
      response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': body.length }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const named = baseUrl === '' ? [] : ['-hls_base_url', baseUrl.replace('HOST', `localhost:${port}`)];
  let child;
  function start() {
    child = spawn('ffmpeg', ['-nostdin', '-v', 'error', '-re', '-i', file, '-c', 'copy', '-f', 'hls',
      '-hls_time', '1', '-hls_list_size', '4', '-hls_flags', 'delete_segments+temp_file+omit_endlist', ...named,
      join(folder, 'cam.m3u8')], { stdio: 'ignore' });
  }
  function hang() {
    child.kill('SIGKILL');
  }
  function close() {
    hang();
    server.closeAllConnections();
    server.close();
  }
  start();
  return { url: `http://me:secret@localhost:${port}/cam.m3u8?token=secret`, asked, start, hang, close };
}

/** A slow network: passes TCP on to a port of this machine, so many bytes a second to whoever connects. */
export async function startSlowNetwork(port, bytesPerSecond) {
  const TICK_MS = 50;
  const sockets = new Set();
  let rate = bytesPerSecond;
  const server = createSocketServer((client) => {
    const camera = connect(port, '127.0.0.1');
    const both = [client, camera];
    both.forEach((socket) => sockets.add(socket.on('error', () => {})));
    client.pipe(camera);
    let held = [];
    let size = 0;
    const timer = setInterval(() => {
      for (let left = Math.floor((rate * TICK_MS) / 1000); held.length > 0 && left > 0;) {
        const piece = held[0].subarray(0, left);
        held[0] = held[0].subarray(piece.length);
        held = held[0].length > 0 ? held : held.slice(1);
        left -= piece.length;
        size -= piece.length;
        client.write(piece);
      }
      if (size < 65536) {
        camera.resume();
      }
    }, TICK_MS);
    camera.on('data', (bytes) => {
      held.push(bytes);
      size += bytes.length;
      if (size >= 65536) {
        camera.pause(); // and what the kernel holds fills up
      }
    });
    both.forEach((socket) => socket.on('close', () => {
      clearInterval(timer);
      both.forEach((other) => sockets.delete(other) && other.destroy());
    }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  function close() {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  }
  return { port: server.address().port, setRate: (value) => (rate = value), close };
}

/** Makes an authority and certificates of its in a folder: {ca, of: (name) => {key, cert}}. */
export function makeAuthority(folder) {
  const openssl = (...args) => {
    const { status, stderr } = spawnSync('openssl', args, { cwd: folder });
    if (status !== 0) {
      throw new Error(`openssl: ${stderr}`);
    }
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-days', '2', '-subj', '/CN=Cameras', '-keyout', 'ca.key', '-out', 'ca.pem');
  function of(name) {
    writeFileSync(join(folder, 'names'), `subjectAltName=DNS:${name}\n`);
    openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', 'one.key', '-out', 'one.csr');
    openssl('x509', '-req', '-in', 'one.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
      '-extfile', 'names', '-out', 'one.pem');
    return { key: readFileSync(join(folder, 'one.key')), cert: readFileSync(join(folder, 'one.pem')) };
  }
  return { ca: join(folder, 'ca.pem'), of };
}

/** TLS in front of a port of this machine. */
export async function startTls(port, certificate) {
  const sockets = new Set();
  const names = [];
  const server = createTlsServer(certificate, (client) => {
    const camera = connect(port, '127.0.0.1');
    names.push(client.servername);
    [client, camera].forEach((socket) => sockets.add(socket.on('error', () => {})));
    client.pipe(camera).pipe(client);
  });
  server.on('tlsClientError', () => {});
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  function close() {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  }
  return { port: server.address().port, names, close };
}
