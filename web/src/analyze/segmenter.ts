// Asks the server for the mask of what was pointed at. The picture is sent once; from then on the
// id that came with the first answer stands for it.

import { ApiError } from '../api/http.ts';
import { segment, type SegmentResult } from '../api/inference.ts';
import { createAsker } from './newest.ts';
import type { AppStore, Picture } from './state.ts';

export function setUpSegmenter(store: AppStore): { ask: () => void } {
  let sent: { picture: Picture; id: string } | null = null;

  async function ask(signal: AbortSignal): Promise<SegmentResult> {
    const { prompts } = store.get();
    const picture = store.get().picture as Picture;
    let answer: SegmentResult | null = null;
    if (sent?.picture === picture) {
      try {
        answer = await segment(sent.id, prompts, signal);
      } catch (error) {
        if (!(error instanceof ApiError && error.problem.status === 404)) {
          throw error;
        }
        // The server has forgotten the picture: others came after it.
      }
    }
    answer ??= await segment(picture.file, prompts, signal);
    sent = { picture, id: answer.image_id };
    return answer;
  }

  const asker = createAsker({
    ask,
    onAnswer: ({ masks, timings_ms: segmentTimings }) =>
      store.set({ busy: false, masks, segmentTimings }),
    onProblem: (problem) =>
      store.set({ busy: false, masks: [], segmentTimings: null, problem }),
    onFault: () => store.set({ busy: false }),
  });

  function askNow(): void {
    const { picture, mode, prompts } = store.get();
    asker.giveUp();
    if (mode !== 'segment') {
      return;
    }
    const wanted = picture !== null && prompts.length > 0;
    store.set({ busy: wanted, problem: null });
    if (wanted) {
      asker.askSoon(0);
    } else {
      store.set({ masks: [], segmentTimings: null });
    }
  }

  store.watch(['mode', 'picture', 'prompts'], askNow);
  return { ask: askNow };
}
