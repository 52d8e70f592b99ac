// A video with what a job saw drawn over it.

import { useEffect, useRef, useState } from 'preact/hooks';
import { drawScene } from '../analyze/draw.ts';
import type { Line, Video, Zone } from '../api/videos.ts';
import { setProperty } from '../dom.ts';
import { frameAt, type FrameObject, type FrameRecord } from './frames.ts';
import { drawShapes, prepare } from './zone_draw.ts';

const named = (object: FrameObject): FrameObject =>
  object.track_id === undefined ? object : { ...object, class_name: `${object.class_name} #${object.track_id}` };

interface Shown {
  frames: readonly FrameRecord[];
  zones: readonly Zone[];
  lines: readonly Line[];
}

function draw(canvas: HTMLCanvasElement, video: HTMLVideoElement, { frames, zones, lines }: Shown): void {
  const frame = prepare(canvas);
  if (!frame) {
    return;
  }
  const detections = (frameAt(frames, video.currentTime + 0.001)?.objects ?? []).map(named);
  const { context, width, height } = frame;
  drawScene(context, { detections, marked: null, scale: width / video.videoWidth, width, height });
  drawShapes(frame, zones, lines);
  canvas.dataset['objects'] = String(detections.length);
}

export function Player(props: {
  video: Video;
  seek: { to: number } | null; // a new object is a new wish
  frames?: readonly FrameRecord[];
  zones?: readonly Zone[];
  lines?: readonly Line[];
}) {
  const frame = useRef<HTMLDivElement>(null);
  const element = useRef<HTMLVideoElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [unplayable, setUnplayable] = useState(false);
  const shown = useRef<Shown>({ frames: [], zones: [], lines: [] });
  shown.current = { frames: props.frames ?? [], zones: props.zones ?? [], lines: props.lines ?? [] };
  const { width, height } = props.video.video;

  useEffect(() => setProperty(frame.current as HTMLElement, '--ratio', String(width / height)), [width, height]);
  useEffect(() => {
    const video = element.current as HTMLVideoElement;
    const redraw = (): void => draw(canvas.current as HTMLCanvasElement, video, shown.current);
    const stop = new AbortController();
    const onFrame = (): void => {
      if (!stop.signal.aborted) {
        redraw();
        video.requestVideoFrameCallback?.(onFrame);
      }
    };
    for (const event of ['loadeddata', 'seeked', 'timeupdate', 'pause']) {
      video.addEventListener(event, redraw, { signal: stop.signal });
    }
    video.requestVideoFrameCallback?.(onFrame);
    const resized = new ResizeObserver(redraw);
    resized.observe(video);
    return () => {
      stop.abort();
      resized.disconnect();
    };
  }, [props.video.id]);
  useEffect(() => {
    draw(canvas.current as HTMLCanvasElement, element.current as HTMLVideoElement, shown.current);
  }, [props.frames, props.zones, props.lines]);
  useEffect(() => {
    if (props.seek && element.current) {
      element.current.currentTime = props.seek.to;
    }
  }, [props.seek]);

  return (
    <div class="player">
      <div ref={frame} class="video-frame">
        <video
          ref={element}
          src={props.video.content}
          controls
          muted
          playsInline
          preload="auto"
          aria-label={props.video.name}
          onError={() => setUnplayable(true)}
        />
        <canvas ref={canvas} class="video-overlay" aria-hidden="true" />
      </div>
      {unplayable && (
        <p class="help" role="status">
          This browser can’t play {props.video.video.codec} in {props.video.video.container}. The results are below all
          the same.
        </p>
      )}
    </div>
  );
}
