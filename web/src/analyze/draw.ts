// Boxes and labels on a canvas. Boxes are pixels of the upright picture; `scale` takes them to CSS
// pixels, so that lines and letters stay sharp at any size of the picture on the screen.

import type { BoxPrompt, Detection, Prompt } from '../api/inference.ts';
import { classColor } from './color.ts';

const fontSize = 12;
const tabHeight = 18;
const tabPadding = 5;
const ink = '#101314'; // readable on every class colour, which are light

export interface Scene {
  detections: readonly Detection[];
  marked: Detection | null;
  scale: number; // CSS pixels for one pixel of the picture
  width: number; // of the canvas, CSS pixels
  height: number;
}

function drawBox(context: CanvasRenderingContext2D, scene: Scene, detection: Detection): void {
  const { x1, y1, x2, y2 } = detection.box;
  const isMarked = detection === scene.marked;
  const line = isMarked ? 3.5 : 2;
  const left = x1 * scene.scale;
  const top = y1 * scene.scale;
  const width = (x2 - x1) * scene.scale;
  const height = (y2 - y1) * scene.scale;
  const color = classColor(detection.class_id);

  if (isMarked) {
    context.globalAlpha = 0.18;
    context.fillStyle = color;
    context.fillRect(left, top, width, height);
    context.globalAlpha = 1;
  }
  context.lineJoin = 'round';
  context.strokeStyle = 'rgb(0 0 0 / 35%)';
  context.lineWidth = line + 2;
  context.strokeRect(left, top, width, height);
  context.strokeStyle = color;
  context.lineWidth = line;
  context.strokeRect(left, top, width, height);
}

function drawLabel(context: CanvasRenderingContext2D, scene: Scene, detection: Detection): void {
  const text = `${detection.class_name} ${detection.confidence.toFixed(2)}`;
  const width = Math.ceil(context.measureText(text).width) + 2 * tabPadding;
  // Above the box where there is room, inside it at the top edge, and never over the right edge.
  const left = Math.max(0, Math.min(detection.box.x1 * scene.scale - 1, scene.width - width));
  const above = detection.box.y1 * scene.scale - tabHeight;
  const top = above >= 0 ? above : detection.box.y1 * scene.scale;

  context.fillStyle = classColor(detection.class_id);
  context.beginPath();
  context.roundRect(left, top, width, tabHeight, 4);
  context.fill();
  context.fillStyle = ink;
  context.fillText(text, left + tabPadding, top + tabHeight / 2 + 0.5);
}

/** Labels come after the boxes, which would run through them. */
function drawAll(
  context: CanvasRenderingContext2D,
  scene: Scene,
  detections: readonly Detection[],
  alpha: number,
): void {
  context.globalAlpha = alpha;
  for (const detection of detections) {
    drawBox(context, scene, detection);
  }
  for (const detection of detections) {
    drawLabel(context, scene, detection);
  }
  context.globalAlpha = 1;
}

export function drawScene(context: CanvasRenderingContext2D, scene: Scene): void {
  context.clearRect(0, 0, scene.width, scene.height);
  context.font = `600 ${fontSize}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  // Weakest first, so that the strongest lie on top; the marked one above all.
  const ordered = [...scene.detections].reverse();
  const marked = ordered.filter((detection) => detection === scene.marked);
  const others = ordered.filter((detection) => detection !== scene.marked);
  drawAll(context, scene, others, marked.length > 0 ? 0.35 : 1);
  drawAll(context, scene, marked, 1);
}

export interface CutScene {
  masks: readonly CanvasImageSource[];
  prompts: readonly Prompt[];
  drag: BoxPrompt | null; // a box that is being drawn
  cross: { x: number; y: number } | null; // the keyboard's
  scale: number;
  width: number;
  height: number;
}

const inside = '#2fd3bf';
const outside = '#ff7b72';

function strokeTwice(context: CanvasRenderingContext2D, color: string, width: number): void {
  context.strokeStyle = 'rgb(0 0 0 / 55%)';
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

function drawPrompt(context: CanvasRenderingContext2D, prompt: Prompt, scale: number): void {
  context.beginPath();
  if (prompt.kind === 'box') {
    const { x1, y1, x2, y2 } = prompt;
    context.rect(x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
    strokeTwice(context, inside, 2);
    return;
  }
  context.arc(prompt.x * scale, prompt.y * scale, 6, 0, 2 * Math.PI);
  context.fillStyle = prompt.label ? inside : outside;
  context.fill();
  strokeTwice(context, '#fff', 1.5);
  // A plus or a minus: colour alone would not tell them apart.
  context.beginPath();
  context.moveTo(prompt.x * scale - 3, prompt.y * scale);
  context.lineTo(prompt.x * scale + 3, prompt.y * scale);
  if (prompt.label) {
    context.moveTo(prompt.x * scale, prompt.y * scale - 3);
    context.lineTo(prompt.x * scale, prompt.y * scale + 3);
  }
  context.strokeStyle = ink;
  context.lineWidth = 1.5;
  context.stroke();
}

export function drawCut(context: CanvasRenderingContext2D, scene: CutScene): void {
  context.clearRect(0, 0, scene.width, scene.height);
  for (const mask of scene.masks) {
    context.drawImage(mask, 0, 0, scene.width, scene.height);
  }
  for (const prompt of scene.drag ? [...scene.prompts, scene.drag] : scene.prompts) {
    drawPrompt(context, prompt, scene.scale);
  }
  if (scene.cross) {
    const x = scene.cross.x * scene.scale;
    const y = scene.cross.y * scene.scale;
    context.beginPath();
    context.moveTo(x - 14, y);
    context.lineTo(x + 14, y);
    context.moveTo(x, y - 14);
    context.lineTo(x, y + 14);
    strokeTwice(context, '#fff', 1.5);
  }
}

/** The smallest box around a point (pixels of the picture): what a pointer there means. */
export function detectionAt(
  detections: readonly Detection[],
  x: number,
  y: number,
): Detection | null {
  const area = ({ box }: Detection): number => (box.x2 - box.x1) * (box.y2 - box.y1);
  return detections
    .filter(({ box }) => x >= box.x1 && x < box.x2 && y >= box.y1 && y < box.y2)
    .reduce<Detection | null>(
      (best, next) => (best === null || area(next) < area(best) ? next : best),
      null,
    );
}
