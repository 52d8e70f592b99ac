// Videos of squares that move, which the model of tiny_model.mjs knows by their colours.

import { execFileSync } from 'node:child_process';

const gray = (size, fps) => `color=gray:s=${size}:r=${fps}`;

/**
 * Draws a film into path. squares: { colour, size: 'WxH', x, y, shown }, with x, y and whether it is shown (1: always) in
 * FFmpeg's expressions of the time t; later ones lie over earlier ones. background: an FFmpeg source; more: options of
 * the encoder.
 */
export function drawSquares(path, seconds, squares, { size = '320x240', fps = 25, background = gray, more = [] } = {}) {
  const inputs = [background(size, fps), ...squares.map((one) => `color=${one.colour}:s=${one.size}:r=${fps}`)];
  const overlays = squares.map(({ x, y, shown = '1' }, i) =>
    `[${i === 0 ? 0 : `over${i}`}][${i + 1}]overlay=x='${x}':y='${y}':enable='${shown}'[over${i + 1}]`);
  execFileSync('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...inputs.flatMap((input) => ['-f', 'lavfi', '-i', input]),
    '-filter_complex', overlays.join(';'), '-map', `[over${squares.length}]`, '-t', String(seconds),
    '-c:v', 'libx264', '-preset', 'ultrafast', ...more, '-pix_fmt', 'yuv420p', path]);
}
