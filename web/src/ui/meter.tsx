import { useLayoutEffect, useRef } from 'preact/hooks';
import { setProperty } from '../dom.ts';

/** How much of something is done, 0 to 1. */
export function Meter({ share, label }: { share: number; label: string }) {
  const element = useRef<HTMLDivElement>(null);
  const percent = Math.round(100 * Math.max(0, Math.min(1, share)));
  useLayoutEffect(() => {
    setProperty(element.current as HTMLElement, '--done', `${percent}%`);
  }, [percent]);
  return (
    <div
      ref={element}
      class="progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
    />
  );
}
