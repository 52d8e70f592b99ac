// One camera among others: its last picture and how it does.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Stream } from '../api/streams.ts';
import { StreamBadge } from '../ui/badge.tsx';
import { Icon } from '../ui/icon.tsx';
import { usePicture } from './picture.ts';
import { useVisible } from './visible.ts';
import { countWords, paceOf } from './words.ts';

const everyMs = 3000;

/** The last picture, another one every few seconds while it can be seen. */
function Picture({ stream }: { stream: Stream }) {
  const frame = useRef<HTMLDivElement>(null);
  const [onScreen, setOnScreen] = useState(false);
  const visible = useVisible();
  const hasPicture = stream.state === 'live' && (stream.status?.frames_processed ?? 0) > 0;
  const picture = usePicture(stream.id, hasPicture && visible && onScreen, everyMs);

  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => setOnScreen(entry?.isIntersecting ?? false));
    observer.observe(frame.current as HTMLDivElement);
    return () => observer.disconnect();
  }, []);
  return (
    <div ref={frame} class="stream-picture">
      {picture ? (
        <img src={picture} alt={`Last picture of ${stream.name}`} />
      ) : (
        <span class="stream-no-picture" aria-hidden="true">
          <Icon name="streams" />
        </span>
      )}
    </div>
  );
}

export function StreamCard({ stream, children }: { stream: Stream; children?: ComponentChildren }) {
  const counts = countWords(stream.counts);
  const { rules = [] } = stream.options;
  return (
    <li class="card stream-card">
      <a class="stream-look" href={`/streams/${stream.id}`} tabIndex={-1} aria-hidden="true">
        <Picture stream={stream} />
      </a>
      <div class="stream-words">
        <div class="stream-head">
          <h2 class="grow">
            <a href={`/streams/${stream.id}`}>{stream.name}</a>
          </h2>
          <StreamBadge state={stream.state} />
        </div>
        {stream.reason && <p class="help small-text stream-reason">{stream.reason}</p>}
        <p class="small-text number soft">{paceOf(stream) || '–'}</p>
        {counts.length > 0 && (
          <ul class="stream-counts">
            {counts.slice(0, 4).map((words) => (
              <li key={words}>{words}</li>
            ))}
            {counts.length > 4 && <li>and {counts.length - 4} more</li>}
          </ul>
        )}
        <div class="stream-foot">
          <a class="small-text" href={`/events?stream=${stream.id}`}>
            {rules.length === 0 ? 'Events' : `Events of ${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}`}
          </a>
          {children}
        </div>
      </div>
    </li>
  );
}
