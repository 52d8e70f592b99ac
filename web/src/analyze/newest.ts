// Of several questions only the newest counts: an older one is given up at once, so that no late
// answer shows.

import { ApiError, type Problem } from '../api/http.ts';

export interface Asker {
  /** Asks after a moment, unless asked again before. */
  askSoon(delayMs: number): void;
  giveUp(): void;
}

export function createAsker<Answer>(asker: {
  ask: (signal: AbortSignal) => Promise<Answer>;
  onAnswer: (answer: Answer) => void;
  onProblem: (problem: Problem) => void;
  onFault: () => void; // an error that is no answer of the server's follows
}): Asker {
  let current: AbortController | null = null; // of the question whose answer is waited for
  let timer = 0;

  async function askNow(): Promise<void> {
    const mine = new AbortController();
    current = mine;
    try {
      const answer = await asker.ask(mine.signal);
      if (mine === current) {
        asker.onAnswer(answer);
      }
    } catch (error) {
      if (mine !== current) {
        return; // given up for a newer question
      }
      if (!(error instanceof ApiError)) {
        asker.onFault();
        throw error;
      }
      asker.onProblem(error.problem);
    }
  }

  function giveUp(): void {
    window.clearTimeout(timer);
    current?.abort();
    current = null;
  }

  return {
    giveUp,
    askSoon(delayMs) {
      giveUp();
      timer = window.setTimeout(() => void askNow(), delayMs);
    },
  };
}
