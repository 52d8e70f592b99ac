// Zones and lines drawn on a frame: by pointer, or by keyboard with a cross that the arrow keys move.

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Line, Spot, Zone } from '../api/videos.ts';
import { Icon } from '../ui/icon.tsx';
import { drawEditor, zoneColor } from './zone_draw.ts';

export interface Shapes {
  zones: Zone[];
  lines: Line[];
}

type Tool = 'zone' | 'line';
/** A corner that can be pulled. */
type Grip = { kind: 'zone' | 'line'; index: number; corner: number };

const near = 14; // CSS pixels: a corner is meant
const nudge = 0.02;
const most = 64; // zones, lines, and corners of a zone

const clamp = (value: number): number => Math.max(0, Math.min(1, value));
const rounded = ([x, y]: Spot): Spot => [Math.round(clamp(x) * 1e4) / 1e4, Math.round(clamp(y) * 1e4) / 1e4];

function freshName(prefix: string, taken: readonly { name: string }[]): string {
  for (let number = 1; ; number++) {
    const name = `${prefix} ${number}`;
    if (!taken.some((other) => other.name === name)) {
      return name;
    }
  }
}

function withCorner(shapes: Shapes, { kind, index, corner }: Grip, spot: Spot): Shapes {
  if (kind === 'zone') {
    const zones = shapes.zones.map((zone, i) =>
      i === index ? { ...zone, polygon: zone.polygon.map((old, j) => (j === corner ? spot : old)) } : zone,
    );
    return { ...shapes, zones };
  }
  const lines = shapes.lines.map((line, i) => (i === index ? { ...line, [corner === 0 ? 'from' : 'to']: spot } : line));
  return { ...shapes, lines };
}

/** Corners of everything, for the pointer to find. */
function* grips({ zones, lines }: Shapes): Generator<[Grip, Spot]> {
  for (const [index, zone] of zones.entries()) {
    for (const [corner, spot] of zone.polygon.entries()) {
      yield [{ kind: 'zone', index, corner }, spot];
    }
  }
  for (const [index, line] of lines.entries()) {
    yield [{ kind: 'line', index, corner: 0 }, line.from];
    yield [{ kind: 'line', index, corner: 1 }, line.to];
  }
}

const moves: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function ShapeRow(props: {
  color: string;
  kind: Tool;
  index: number;
  name: string;
  onName: (name: string) => void;
  onRemove: () => void;
}) {
  const swatch = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => swatch.current?.style.setProperty('--class-color', props.color), [props.color]);
  const what = props.kind === 'zone' ? 'Zone' : 'Line';
  return (
    <li>
      <span ref={swatch} class="swatch" aria-hidden="true" />
      <span class="soft">{what}</span>
      <span class="field grow">
        <input
          type="text"
          aria-label={`Name of ${what.toLowerCase()} ${props.index + 1}`}
          maxLength={64}
          value={props.name}
          onInput={(event) => props.onName(event.currentTarget.value)}
        />
      </span>
      <button class="icon-button" type="button" aria-label={`Remove ${props.name}`} onClick={props.onRemove}>
        <Icon name="trash" />
      </button>
    </li>
  );
}

/** The names of the shapes, and the buttons that take them away. */
export function ShapeList({ shapes, onChange }: { shapes: Shapes; onChange: (shapes: Shapes) => void }) {
  const { zones, lines } = shapes;
  if (zones.length + lines.length === 0) {
    return <p class="help">None yet: objects are followed and counted in the whole picture.</p>;
  }
  return (
    <ul class="plain-list shapes">
      {zones.map((zone, index) => (
        <ShapeRow
          key={`zone${index}`}
          kind="zone"
          color={zoneColor('zone', index)}
          index={index}
          name={zone.name}
          onName={(name) => onChange({ ...shapes, zones: zones.map((old, i) => (i === index ? { ...old, name } : old)) })}
          onRemove={() => onChange({ ...shapes, zones: zones.filter((_, i) => i !== index) })}
        />
      ))}
      {lines.map((line, index) => (
        <ShapeRow
          key={`line${index}`}
          kind="line"
          color={zoneColor('line', index)}
          index={index}
          name={line.name}
          onName={(name) => onChange({ ...shapes, lines: lines.map((old, i) => (i === index ? { ...old, name } : old)) })}
          onRemove={() => onChange({ ...shapes, lines: lines.filter((_, i) => i !== index) })}
        />
      ))}
    </ul>
  );
}

export function ZoneEditor(props: { shapes: Shapes; onChange: (shapes: Shapes) => void }) {
  const { shapes, onChange } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const [tool, setTool] = useState<Tool>('zone');
  const [draft, setDraft] = useState<Spot[]>([]);
  const [cross, setCross] = useState<Spot | null>(null);
  const [grip, setGrip] = useState<Grip | null>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });

  useEffect(() => {
    const element = canvas.current as HTMLCanvasElement;
    const observer = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    drawEditor(canvas.current as HTMLCanvasElement, { ...shapes, draft, tool, cross });
  }, [shapes, draft, tool, cross, size]);

  function finishZone(polygon: Spot[]): void {
    setDraft([]);
    if (polygon.length >= 3 && shapes.zones.length < most) {
      onChange({ ...shapes, zones: [...shapes.zones, { name: freshName('Zone', shapes.zones), polygon }] });
    }
  }

  function addPoint(spot: Spot): void {
    const points = [...draft, rounded(spot)];
    if (tool === 'line' && points.length === 2) {
      const [from, to] = points as [Spot, Spot];
      setDraft([]);
      if ((from[0] !== to[0] || from[1] !== to[1]) && shapes.lines.length < most) {
        onChange({ ...shapes, lines: [...shapes.lines, { name: freshName('Line', shapes.lines), from, to }] });
      }
    } else if (points.length >= most) {
      finishZone(points);
    } else {
      setDraft(points);
    }
  }

  const spotOf = (event: PointerEvent): Spot => {
    const { left, top, width, height } = (canvas.current as HTMLCanvasElement).getBoundingClientRect();
    return [clamp((event.clientX - left) / width), clamp((event.clientY - top) / height)];
  };
  const isNear = (a: Spot, b: Spot): boolean =>
    Math.hypot((a[0] - b[0]) * size.width, (a[1] - b[1]) * size.height) < near;

  function onPointerDown(event: PointerEvent): void {
    if (event.button !== 0) {
      return;
    }
    const spot = spotOf(event);
    const [first] = draft;
    if (tool === 'zone' && first && draft.length >= 3 && isNear(first, spot)) {
      finishZone(draft);
      return;
    }
    const found = draft.length === 0 && [...grips(shapes)].find(([, at]) => isNear(at, spot));
    if (found) {
      (canvas.current as HTMLCanvasElement).setPointerCapture(event.pointerId);
      setGrip(found[0]);
    } else {
      addPoint(spot);
    }
  }

  function onKey(event: KeyboardEvent): void {
    const move = moves[event.key];
    if (move) {
      const step = nudge * (event.shiftKey ? 5 : 1);
      const [x, y] = cross ?? [0.5, 0.5];
      setCross(rounded([x + move[0] * step, y + move[1] * step]));
    } else if (event.key === 'Enter' && cross) {
      const [first] = draft;
      if (tool === 'zone' && first && draft.length >= 3 && isNear(first, cross)) {
        finishZone(draft);
      } else {
        addPoint(cross);
      }
    } else if (event.key === 'c' && tool === 'zone') {
      finishZone(draft);
    } else if (event.key === 'Backspace') {
      setDraft(draft.slice(0, -1));
    } else if (event.key === 'Escape' && draft.length > 0) {
      setDraft([]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  const choose = (next: Tool): void => {
    setTool(next);
    setDraft([]);
  };
  return (
    <>
      <canvas
        ref={canvas}
        class="zone-canvas"
        tabIndex={0}
        role="application"
        aria-label="Frame to draw on: arrow keys move a cross, Enter sets a point, C closes a zone, Backspace takes the last point back"
        onPointerDown={onPointerDown}
        onPointerMove={(event) => grip && onChange(withCorner(shapes, grip, rounded(spotOf(event))))}
        onPointerUp={() => setGrip(null)}
        onPointerCancel={() => setGrip(null)}
        onDblClick={() => tool === 'zone' && finishZone(draft.slice(0, -1))}
        onKeyDown={onKey}
        onFocus={() => canvas.current?.matches(':focus-visible') && setCross(cross ?? [0.5, 0.5])}
        onBlur={() => setCross(null)}
      />
      <div class="editor-tools">
        <div class="segments" role="radiogroup" aria-label="What to draw">
          {(['zone', 'line'] as const).map((name) => (
            <label key={name}>
              <input class="sr-only" type="radio" name="tool" checked={tool === name} onChange={() => choose(name)} />
              <span>{name === 'zone' ? 'Zone' : 'Line'}</span>
            </label>
          ))}
        </div>
        <p class="help" role="status">
          {tool === 'zone'
            ? draft.length === 0
              ? 'Click the corners of a zone; the first one again closes it.'
              : `${draft.length} ${draft.length === 1 ? 'corner' : 'corners'}. Click the first one again to close it.`
            : draft.length === 0
              ? 'Click both ends of a line. “In” crosses it from left to right, seen along it.'
              : 'Now the other end.'}
        </p>
        {tool === 'zone' && draft.length >= 3 && (
          <button class="button small" type="button" onClick={() => finishZone(draft)}>
            Close the zone
          </button>
        )}
      </div>
    </>
  );
}
