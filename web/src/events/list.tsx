// Events as a list, each with its picture.

import type { StreamEvent } from '../api/events.ts';
import { dateTime } from '../format.ts';
import { Icon } from '../ui/icon.tsx';
import { Time } from '../ui/time.tsx';
import { titleOf } from './words.ts';

export function EventList({ items, withStream }: { items: readonly StreamEvent[]; withStream: boolean }) {
  return (
    <ul class="event-list">
      {items.map((event) => (
        <li key={event.id}>
          <a class="event-row" href={`/events/${event.id}`} title={dateTime(event.at)}>
            <span class="event-picture" aria-hidden="true">
              {event.snapshot ? <img src={event.snapshot} alt="" loading="lazy" /> : <Icon name="events" />}
              {event.clip && (
                <span class="event-clip">
                  <Icon name="play" />
                </span>
              )}
            </span>
            <span class="event-words">
              <span class="event-title">{titleOf(event)}</span>
              <span class="soft small-text">
                {[withStream && event.stream.name, event.rule].filter(Boolean).join(' · ')}
              </span>
            </span>
            <span class="soft small-text">
              <Time at={event.at} />
            </span>
          </a>
        </li>
      ))}
    </ul>
  );
}
