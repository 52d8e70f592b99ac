// What went wrong, as the server put it.

import { byId } from '../dom.ts';
import type { AppStore } from './state.ts';

// Asking again may help: no answer, too slow, too many, a fault, a full queue.
const worthRetrying = new Set([0, 408, 429, 500, 503]);

export function setUpProblem(store: AppStore, retry: () => void): void {
  byId('retry').addEventListener('click', () => {
    byId('main').focus(); // the button is about to go
    retry();
  });

  store.watch(['problem'], ({ problem }) => {
    byId('problem').hidden = !problem;
    if (!problem) {
      return;
    }
    const { title, status, detail, advice, request_id: requestId } = problem;
    byId('problem-title').textContent = status > 0 ? `${title} (${status})` : title;
    byId('problem-detail').textContent = detail;
    byId('problem-advice').textContent = advice ?? '';
    byId('problem-request').textContent = requestId ? `Request ${requestId}` : '';
    byId('retry').hidden = !worthRetrying.has(status);
    byId('problem').scrollIntoView({ block: 'nearest' }); // on a phone it lies below the picture
  });
}
