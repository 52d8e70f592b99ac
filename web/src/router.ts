// Which page is shown: the address decides, and links change it without asking the server.

import { observable } from './observable.ts';

export interface Place {
  path: string;
  query: URLSearchParams;
}

export type Params = Readonly<Record<string, string>>;

const read = (): Place => ({ path: location.pathname, query: new URLSearchParams(location.search) });

export const place = observable<Place>(read());

/** The parameters of a path, when it is of that pattern: `/jobs/:id`. */
export function match(pattern: string, path: string): Params | null {
  const wanted = pattern.split('/');
  const parts = path.split('/');
  if (wanted.length !== parts.length) {
    return null;
  }
  const params: Record<string, string> = {};
  for (const [i, want] of wanted.entries()) {
    const part = parts[i] ?? '';
    if (want.startsWith(':') && part !== '') {
      try {
        params[want.slice(1)] = decodeURIComponent(part);
      } catch {
        return null; // no text in any encoding
      }
    } else if (want !== part) {
      return null;
    }
  }
  return params;
}

export function go(to: string, how: { replace?: boolean } = {}): void {
  if (how.replace) {
    history.replaceState(null, '', to);
  } else {
    history.pushState(null, '', to);
  }
  const { path } = place.get();
  place.set(read());
  if (path !== location.pathname) {
    window.scrollTo(0, 0);
  }
}

/** isPage tells the paths of pages; all others are the server's, such as /docs. */
export function setUpRouter(isPage: (path: string) => boolean): void {
  window.addEventListener('popstate', () => {
    const { path, query } = place.get();
    if (path !== location.pathname || `?${query}` !== (location.search || '?')) {
      place.set(read()); // and not for a mere #place on the same page
    }
  });
  document.addEventListener('click', (event) => {
    const link = (event.target as Element).closest?.('a');
    const plain =
      event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link?.href || event.defaultPrevented || !plain || link.target || link.hasAttribute('download')) {
      return;
    }
    const to = new URL(link.href);
    if (to.origin !== location.origin || to.hash !== '' || !isPage(to.pathname)) {
      return;
    }
    event.preventDefault();
    go(to.pathname + to.search);
  });
}
