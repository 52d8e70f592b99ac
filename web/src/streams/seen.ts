// What was seen in a stream of late: which boxes belong to a moment of the video, and how many there
// were over the last minutes.

import type { StreamFrame, StreamObject } from '../api/streams.ts';

const mostFrames = 300;
const fitsS = 1; // boxes that are older say nothing about this moment
const hairS = 0.002; // times are rounded

/** The last frames, in the order in which they came. */
export class Seen {
  private frames: StreamFrame[] = [];

  add(frame: StreamFrame): void {
    const last = this.frames.at(-1);
    if (last && frame.frame <= last.frame) {
      this.frames = []; // it has begun anew
    }
    this.frames.push(frame);
    if (this.frames.length > mostFrames) {
      this.frames.splice(0, mostFrames / 2);
    }
  }

  newest(): StreamFrame | null {
    return this.frames.at(-1) ?? null;
  }

  /** The newest frame that was not after that moment of live.mp4; null: none is near it. */
  at(mediaTime: number): StreamFrame | null {
    for (let i = this.frames.length - 1; i >= 0; i--) {
      const frame = this.frames[i] as StreamFrame;
      const time = frame.media_time;
      if (typeof time === 'number' && time <= mediaTime + hairS) {
        return mediaTime - time <= fitsS ? frame : null;
      }
    }
    return null;
  }
}

const stepMs = 1000;
const mostSteps = 300; // five minutes
const leastMs = 60_000; // the chart shows a minute from the start
const holdsMs = 5000;
const mostClasses = 5;

interface Step {
  at: number; // ms
  most: Map<number, number>; // by class
}

export interface Recent {
  times: number[]; // seconds since 1970
  classes: { id: number; name: string; counts: (number | null)[] }[]; // the most frequent first; null: not known
}

/** How many of each class there were at once, in steps of a second. */
export class History {
  private steps: Step[] = [];
  private names = new Map<number, string>();

  add(objects: readonly StreamObject[], now = Date.now()): void {
    const at = Math.floor(now / stepMs) * stepMs;
    let step = this.steps.at(-1);
    if (step?.at !== at) {
      step = { at, most: new Map() };
      this.steps.push(step);
      this.steps.splice(0, Math.max(0, this.steps.length - mostSteps));
    }
    const counts = new Map<number, number>();
    for (const { class_id: id, class_name: name } of objects) {
      counts.set(id, (counts.get(id) ?? 0) + 1);
      this.names.set(id, name);
    }
    for (const [id, count] of counts) {
      step.most.set(id, Math.max(count, step.most.get(id) ?? 0));
    }
  }

  read(): Recent {
    const sums = new Map<number, number>();
    for (const { most } of this.steps) {
      for (const [id, count] of most) {
        sums.set(id, (sums.get(id) ?? 0) + count);
      }
    }
    const busiest = [...sums].sort((a, b) => b[1] - a[1]).slice(0, mostClasses);
    const last = this.steps.at(-1)?.at ?? 0;
    const first = Math.max(Math.min(this.steps[0]?.at ?? 0, last - leastMs), last - mostSteps * stepMs);
    const byTime = new Map<number, Map<number, number>>();
    for (const { at, most } of this.steps) {
      for (let later = at; later <= at + holdsMs; later += stepMs) {
        byTime.set(later, most); // until the next one, of a camera with less than a frame a second
      }
    }
    const times = last === 0 ? [] : Array.from({ length: (last - first) / stepMs + 1 }, (_, i) => first + i * stepMs);
    return {
      times: times.map((at) => at / 1000),
      classes: busiest.map(([id]) => ({
        id,
        name: this.names.get(id) ?? String(id),
        counts: times.map((at) => {
          const most = byTime.get(at);
          return most ? (most.get(id) ?? 0) : null;
        }),
      })),
    };
  }
}
