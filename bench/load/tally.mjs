// What came of the requests of a load, as the one who asked sees it.

const MOST_WRONG = 20; // told in words; all are counted

/** Adds one to the count of a name. */
export const count = (counts, name) => (counts[name] = (counts[name] ?? 0) + 1);

export class Tally {
  statuses = {}; // of all that were answered
  errors = {}; // why others were not answered, or not sent
  caches = {}; // X-Cache
  latencies = []; // ms of the good answers, from when each was due
  served = []; // ms of all answers, from when each was sent
  steady = 0; // good answers while all users were there
  wrong = 0;
  mistakes = [];

  /** One answer of post(); waited: ms between being due and being sent. */
  answered(answer, waited, isSteady) {
    if (answer.error) {
      count(this.errors, answer.error);
      return;
    }
    count(this.statuses, answer.status);
    this.served.push(answer.ms);
    if (answer.status === 200) {
      this.latencies.push(waited + answer.ms);
      this.steady += isSteady;
      if (answer.headers['x-cache']) count(this.caches, answer.headers['x-cache']);
    } else if ([429, 503].includes(answer.status) && !(answer.retryAfter > 0)) {
      this.mistaken(`a ${answer.status} does not say when to come again`);
    }
  }

  /** A request that was never sent. */
  unsent(why) {
    count(this.errors, why);
  }

  mistaken(sentence) {
    this.wrong++;
    if (this.mistakes.length < MOST_WRONG) this.mistakes.push(sentence);
  }

  get requests() {
    return this.served.length + Object.values(this.errors).reduce((sum, value) => sum + value, 0);
  }

  /** Answers that were neither good nor a refusal for want of room, and requests that got none. */
  get failures() {
    const { 200: _good, 429: _often, 503: _full, ...others } = this.statuses;
    return [...Object.values(others), ...Object.values(this.errors)].reduce((sum, value) => sum + value, 0);
  }
}
