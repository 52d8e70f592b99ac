// Cameras of a test's own: GStreamer's RTSP server, and multipart JPEG over HTTP from this process.

import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
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

/** Makes an MP4 with H.264 of a video's first seconds, shown `times` times, scaled down. */
export function makeClip(from, to, { seconds, times = 1, fps = 10 }) {
  const one = times === 1 ? to : `${to}.part.mp4`;
  const run = (...args) => {
    const { status, stderr } = spawnSync('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args]);
    if (status !== 0) {
      throw new Error(`ffmpeg: ${stderr}`);
    }
  };
  const codec = ['-c:v', 'libx264', '-preset', 'veryfast', '-g', String(fps), '-bf', '0', '-threads', '1'];
  run('-i', from, '-t', String(seconds), '-an', '-vf', `scale=640:-2,fps=${fps}`, ...codec, one);
  if (times > 1) {
    run('-stream_loop', String(times - 1), '-i', one, '-c', 'copy', to);
  }
}

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
