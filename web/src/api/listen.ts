// Server-Sent Events, for as long as somebody wants them.

const firstPauseMs = 1000;
const longestPauseMs = 30_000;

/**
 * Listens to an address: on has what to do with each kind of event, by its data. After a broken
 * connection the browser connects again by itself, but not after an answer that is no stream: nobody is
 * signed in, too many listen already, or nothing more will come. That is told to onRefused each time,
 * and another try follows, later from time to time. The answer ends it all.
 */
export function listen(path: string, on: Record<string, (data: string) => void>, onRefused: () => void): () => void {
  let source: EventSource;
  let timer = 0;
  let pauseMs = firstPauseMs;

  function open(): void {
    source = new EventSource(path);
    for (const [kind, take] of Object.entries(on)) {
      source.addEventListener(kind, (event: MessageEvent<string>) => {
        pauseMs = firstPauseMs;
        take(event.data);
      });
    }
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED) {
        timer = window.setTimeout(open, pauseMs);
        pauseMs = Math.min(2 * pauseMs, longestPauseMs);
        onRefused(); // which may end it all
      }
    });
  }

  open();
  return () => {
    window.clearTimeout(timer);
    source.close();
  };
}
