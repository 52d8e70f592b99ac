// Zones and lines on a canvas over a frame. Places are 0 to 1 of its width and height.

import type { Line, Spot, Zone } from '../api/videos.ts';

const colors = ['#2fd3bf', '#f7b955', '#8fb8ff', '#ff8fa3', '#c6e377', '#d3a4ff'];

export const zoneColor = (kind: 'zone' | 'line', index: number): string =>
  colors[(index + (kind === 'line' ? 3 : 0)) % colors.length] as string;

interface Frame {
  context: CanvasRenderingContext2D;
  width: number; // CSS pixels
  height: number;
}

/** The canvas at the screen's resolution, empty; null while it has no size. */
export function prepare(canvas: HTMLCanvasElement): Frame | null {
  const context = canvas.getContext('2d');
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!context || width === 0) {
    return null;
  }
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = '600 12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  return { context, width, height };
}

function stroke({ context }: Frame, color: string): void {
  context.strokeStyle = 'rgb(0 0 0 / 55%)';
  context.lineWidth = 4;
  context.stroke();
  context.strokeStyle = color;
  context.lineWidth = 2;
  context.stroke();
}

function trace({ context, width, height }: Frame, spots: readonly Spot[], closed: boolean): void {
  context.beginPath();
  for (const [i, [x, y]] of spots.entries()) {
    if (i === 0) {
      context.moveTo(x * width, y * height);
    } else {
      context.lineTo(x * width, y * height);
    }
  }
  if (closed) {
    context.closePath();
  }
}

function dots({ context, width, height }: Frame, spots: readonly Spot[], color: string): void {
  for (const [x, y] of spots) {
    context.beginPath();
    context.arc(x * width, y * height, 5, 0, 2 * Math.PI);
    context.fillStyle = color;
    context.fill();
    context.strokeStyle = 'rgb(0 0 0 / 65%)';
    context.lineWidth = 1.5;
    context.stroke();
  }
}

function label({ context, width, height }: Frame, text: string, [x, y]: Spot, color: string): void {
  const wide = context.measureText(text).width + 10;
  const left = Math.max(0, Math.min(x * width - wide / 2, width - wide));
  const top = Math.max(0, Math.min(y * height - 9, height - 18));
  context.fillStyle = color;
  context.beginPath();
  context.roundRect(left, top, wide, 18, 4);
  context.fill();
  context.fillStyle = '#101314';
  context.fillText(text, left + 5, top + 9.5);
}

const middle = (spots: readonly Spot[]): Spot => [
  spots.reduce((sum, [x]) => sum + x, 0) / spots.length,
  spots.reduce((sum, [, y]) => sum + y, 0) / spots.length,
];

function drawZone(frame: Frame, zone: Zone, color: string): void {
  trace(frame, zone.polygon, true);
  frame.context.globalAlpha = 0.22;
  frame.context.fillStyle = color;
  frame.context.fill('evenodd');
  frame.context.globalAlpha = 1;
  stroke(frame, color);
  label(frame, zone.name, middle(zone.polygon), color);
}

/** With an arrow across it: the direction that counts as "in". */
function drawLine(frame: Frame, { name, from, to }: Line, color: string): void {
  const { context, width, height } = frame;
  trace(frame, [from, to], false);
  stroke(frame, color);
  const [x, y] = middle([from, to]);
  const along = [(to[0] - from[0]) * width, (to[1] - from[1]) * height] as const;
  const length = Math.hypot(...along) || 1;
  // To the right of who looks along the line, the y axis pointing down.
  const across = [(-along[1] / length) * 16, (along[0] / length) * 16] as const;
  const tip = [x * width + across[0], y * height + across[1]] as const;
  context.beginPath();
  context.moveTo(x * width - across[0], y * height - across[1]);
  context.lineTo(...tip);
  context.lineTo(tip[0] - across[0] * 0.4 - across[1] * 0.3, tip[1] - across[1] * 0.4 + across[0] * 0.3);
  context.moveTo(...tip);
  context.lineTo(tip[0] - across[0] * 0.4 + across[1] * 0.3, tip[1] - across[1] * 0.4 - across[0] * 0.3);
  stroke(frame, color);
  label(frame, name, [x + (along[0] / length) * (30 / width), y + (along[1] / length) * (30 / height)], color);
}

export function drawShapes(frame: Frame, zones: readonly Zone[], lines: readonly Line[]): void {
  for (const [i, zone] of zones.entries()) {
    drawZone(frame, zone, zoneColor('zone', i));
  }
  for (const [i, line] of lines.entries()) {
    drawLine(frame, line, zoneColor('line', i));
  }
}

export function drawEditor(
  canvas: HTMLCanvasElement,
  scene: { zones: Zone[]; lines: Line[]; draft: Spot[]; tool: 'zone' | 'line'; cross: Spot | null },
): void {
  const frame = prepare(canvas);
  if (!frame) {
    return;
  }
  const { zones, lines, draft, tool, cross } = scene;
  drawShapes(frame, zones, lines);
  for (const [i, zone] of zones.entries()) {
    dots(frame, zone.polygon, zoneColor('zone', i));
  }
  for (const [i, line] of lines.entries()) {
    dots(frame, [line.from, line.to], zoneColor('line', i));
  }
  if (draft.length > 0) {
    const color = zoneColor(tool, tool === 'zone' ? zones.length : lines.length);
    trace(frame, cross ? [...draft, cross] : draft, false);
    stroke(frame, color);
    dots(frame, draft, color);
  }
  if (cross) {
    const x = cross[0] * frame.width;
    const y = cross[1] * frame.height;
    frame.context.beginPath();
    frame.context.moveTo(x - 14, y);
    frame.context.lineTo(x + 14, y);
    frame.context.moveTo(x, y - 14);
    frame.context.lineTo(x, y + 14);
    stroke(frame, '#fff');
  }
}
