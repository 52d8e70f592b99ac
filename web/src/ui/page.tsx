// The frame of a page, and the states that it may be in before it has something to show.

import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Problem } from '../api/http.ts';
import { Icon, type IconName } from './icon.tsx';
import type { List, Load } from './load.ts';

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · Nexus` : 'Nexus';
  }, [title]);
}

export function Page(props: {
  title: string;
  lead?: ComponentChildren;
  back?: { href: string; text: string };
  actions?: ComponentChildren;
  children: ComponentChildren;
}) {
  useTitle(props.title);
  return (
    <div class="page">
      <header class="page-head">
        <div class="page-words">
          {props.back && (
            <a class="back" href={props.back.href}>
              <Icon name="back" /> {props.back.text}
            </a>
          )}
          <h1>{props.title}</h1>
          {props.lead && <p class="lead">{props.lead}</p>}
        </div>
        {props.actions && <div class="actions">{props.actions}</div>}
      </header>
      {props.children}
    </div>
  );
}

export function Loading({ what = 'Loading' }: { what?: string }) {
  return (
    <div class="loading" role="status">
      <span class="spinner" aria-hidden="true" />
      <span>{what}…</span>
    </div>
  );
}

/** Nothing there (yet): says so, and what to do about it. */
export function Blank(props: { icon: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="blank">
      <span class="blank-icon">
        <Icon name={props.icon} />
      </span>
      <p class="blank-title">{props.title}</p>
      {props.children && <div class="blank-text">{props.children}</div>}
    </div>
  );
}

// Asking again may help: no answer, too slow, too many, a fault, a full queue.
const worthRetrying = new Set([0, 408, 429, 500, 502, 503, 504]);

export function ProblemBox({ problem, retry }: { problem: Problem; retry?: (() => void) | undefined }) {
  const { title, status, detail, advice, request_id: requestId } = problem;
  return (
    <div class="problem" role="alert">
      <h2>{status > 0 ? `${title} (${status})` : title}</h2>
      <p>{detail}</p>
      {advice && <p class="problem-advice">{advice}</p>}
      {requestId && <p class="problem-request">Request {requestId}</p>}
      {retry && worthRetrying.has(status) && (
        <button class="button" type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** A problem in one line, beside what it came of. */
export function ProblemLine({ problem }: { problem: Problem | null }) {
  return (
    <p class="problem-line" role="alert">
      {problem && [problem.detail, problem.advice].filter(Boolean).join('. ')}
    </p>
  );
}

/** Of something that is asked for: loading, what went wrong, or it. */
export function Loaded<T>(props: {
  load: Load<T>;
  what?: string;
  children: (value: T) => ComponentChildren;
}) {
  const { value, problem, reload } = props.load;
  if (value === null && problem) {
    return <ProblemBox problem={problem} retry={reload} />;
  }
  if (value === null) {
    return <Loading {...(props.what ? { what: props.what } : {})} />;
  }
  return (
    <>
      {problem && <ProblemBox problem={problem} retry={reload} />}
      {props.children(value)}
    </>
  );
}

/** Of a list: loading, what went wrong, `empty`, or its items and a button for more of them. */
export function LoadedList<T>(props: {
  list: List<T>;
  empty: ComponentChildren;
  children: (items: T[]) => ComponentChildren;
}) {
  const { list } = props;
  return (
    <Loaded load={list}>
      {(items) =>
        items.length === 0 ? (
          props.empty
        ) : (
          <>
            {props.children(items)}
            {list.more && (
              <p class="more">
                <button class="button" type="button" disabled={list.busy} onClick={list.loadMore}>
                  {list.busy ? 'Loading…' : 'Show more'}
                </button>
              </p>
            )}
          </>
        )
      }
    </Loaded>
  );
}
