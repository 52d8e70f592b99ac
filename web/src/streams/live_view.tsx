// What a camera sees now, with what was found in it drawn over it: as video where the browser can
// play the camera's own, else picture by picture. Nothing is asked for while nobody looks.

import { useEffect, useRef, useState } from 'preact/hooks';
import { drawScene } from '../analyze/draw.ts';
import { picturesOf, videoOf, type Stream, type StreamFrame, type StreamObject } from '../api/streams.ts';
import type { Line, Zone } from '../api/videos.ts';
import { setProperty } from '../dom.ts';
import { useObserved, type Observable } from '../observable.ts';
import { drawShapes, prepare } from '../video/zone_draw.ts';
import { canPlayLive, playLive, type LiveState } from './live_video.ts';
import type { Seen } from './seen.ts';
import { useVisible } from './visible.ts';

const named = (object: StreamObject): StreamObject =>
  object.track_id === undefined ? object : { ...object, class_name: `${object.class_name} #${object.track_id}` };

interface Shapes {
  zones: readonly Zone[];
  lines: readonly Line[];
}

function draw(canvas: HTMLCanvasElement, frame: StreamFrame | null, { zones, lines }: Shapes): void {
  const surface = prepare(canvas);
  if (!surface) {
    return;
  }
  const { context, width, height } = surface;
  if (frame) {
    const detections = frame.objects.map(named);
    drawScene(context, { detections, marked: null, scale: width / frame.image.width, width, height });
  }
  drawShapes(surface, zones, lines);
  canvas.dataset['objects'] = String(frame?.objects.length ?? 0);
  canvas.dataset['frame'] = String(frame?.frame ?? '');
}

interface LayerProps {
  stream: Stream;
  seen: Seen;
  shapes: Shapes;
  newest: Observable<StreamFrame | null>;
}

function Video({ stream, seen, shapes, newest: source, type, onState, onGiveUp }: LayerProps & {
  type: string;
  onState: (state: LiveState) => void;
  onGiveUp: () => void;
}) {
  const newest = useObserved(source);
  const element = useRef<HTMLVideoElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const late = useRef(0);
  const shown = useRef({ time: 0, shapes });
  shown.current.shapes = shapes;
  const redraw = (): void =>
    draw(canvas.current as HTMLCanvasElement, seen.at(shown.current.time), shown.current.shapes);

  useEffect(() => {
    const video = element.current as HTMLVideoElement;
    let here = true;
    const onFrame = (_now: number, { mediaTime }: VideoFrameCallbackMetadata): void => {
      if (here) {
        shown.current.time = mediaTime;
        redraw();
        video.requestVideoFrameCallback(onFrame);
      }
    };
    const byClock = (): void => {
      shown.current.time = video.currentTime;
      redraw();
    };
    if ('requestVideoFrameCallback' in video) {
      video.requestVideoFrameCallback(onFrame);
    } else {
      (video as HTMLVideoElement).addEventListener('timeupdate', byClock);
    }
    const resized = new ResizeObserver(redraw);
    resized.observe(video);
    const end = playLive(video, videoOf(stream.id), type, { onState, onGiveUp, late: () => late.current });
    return () => {
      here = false;
      resized.disconnect();
      (video as HTMLVideoElement).removeEventListener('timeupdate', byClock);
      end();
    };
  }, [stream.id, stream.version, type]);
  useEffect(() => {
    const { buffered } = element.current as HTMLVideoElement;
    if (typeof newest?.media_time === 'number' && buffered.length > 0) {
      const now = buffered.end(buffered.length - 1) - newest.media_time;
      late.current = now > late.current ? now : 0.95 * late.current + 0.05 * now; // and slowly back
    }
  }, [newest]);
  useEffect(redraw, [shapes, newest]); // boxes may come after their picture

  return (
    <>
      <video ref={element} class="live-video" muted playsInline disablePictureInPicture aria-label={`Live: ${stream.name}`} />
      <canvas ref={canvas} class="video-overlay" aria-hidden="true" />
    </>
  );
}

function Pictures({ stream, shapes, newest: source }: LayerProps) {
  const newest = useObserved(source);
  const image = useRef<HTMLImageElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [round, setRound] = useState(0);
  const latest = useRef({ newest, shapes });
  latest.current = { newest, shapes };
  const redraw = (): void =>
    draw(canvas.current as HTMLCanvasElement, latest.current.newest, latest.current.shapes);

  useEffect(() => {
    const img = image.current as HTMLImageElement;
    img.src = picturesOf(stream.id);
    let timer = 0;
    const again = (): void => {
      timer = window.setTimeout(() => setRound((before) => before + 1), 3000);
    };
    img.addEventListener('error', again);
    const resized = new ResizeObserver(redraw);
    resized.observe(img);
    return () => {
      window.clearTimeout(timer);
      img.removeEventListener('error', again);
      resized.disconnect();
      img.src = ''; // which ends the connection
      img.removeAttribute('src');
    };
  }, [stream.id, stream.version, round]);
  useEffect(redraw, [newest, shapes]);

  return (
    <>
      <img ref={image} class="live-pictures" alt={`Live: ${stream.name}`} />
      <canvas ref={canvas} class="video-overlay" aria-hidden="true" />
    </>
  );
}

const noShapes: readonly never[] = [];

export function LiveView({ stream, seen, newest }: Omit<LayerProps, 'shapes'>) {
  const frame = useRef<HTMLDivElement>(null);
  const visible = useVisible();
  const [state, setState] = useState<LiveState>('connecting');
  const [gaveUp, setGaveUp] = useState(false);
  const { source } = stream.status ?? { source: null };
  const width = source?.width ?? newest.get()?.image.width ?? 16;
  const height = source?.height ?? newest.get()?.image.height ?? 9;
  const shapes = useRef<Shapes>({ zones: noShapes, lines: noShapes });
  const { zones = noShapes, lines = noShapes } = stream.options;
  if (shapes.current.zones !== zones || shapes.current.lines !== lines) {
    shapes.current = { zones, lines };
  }
  useEffect(() => setProperty(frame.current as HTMLElement, '--ratio', String(width / height)), [width, height]);
  useEffect(() => setGaveUp(false), [stream.id, stream.version, source?.video]);

  const type = source?.video;
  const live = stream.enabled && (stream.state === 'live' || stream.state === 'stalled');
  const mode = !live || !visible ? 'none' : canPlayLive(type) && !gaveUp ? 'video' : 'pictures';
  const layer = { stream, seen, newest, shapes: shapes.current };
  return (
    <div ref={frame} class="video-frame live-frame" data-mode={mode} data-state={mode === 'video' ? state : 'playing'}>
      {mode === 'video' && (
        <Video {...layer} type={type as string} onState={setState} onGiveUp={() => setGaveUp(true)} />
      )}
      {mode === 'pictures' && <Pictures {...layer} />}
      {!live && (
        <p class="live-nothing">
          {`No picture: ${stream.enabled ? (stream.reason ?? stream.state) : 'it is switched off'}.`}
        </p>
      )}
      {mode === 'video' && state !== 'playing' && <p class="live-nothing">Connecting…</p>}
    </div>
  );
}
