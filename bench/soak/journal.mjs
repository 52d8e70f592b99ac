// What came of everything that was asked, and what must not have come.
import { count } from '../load/tally.mjs';

const MOST = 40; // told in words; all are counted
const BUSY = new Set([429, 503]); // honest refusals
const FULL = 507;
const FULL_DISK = 'full disk';

export class Journal {
  answers = {}; // kind to what to how many
  during = {}; // the same, of what failed while a fault was on: by the fault
  sentences = []; // of what must not be
  brokenCount = 0;

  constructor(weather) {
    this.weather = weather;
    this.broken = this.broken.bind(this);
  }

  /** What must not be. */
  broken(sentence) {
    const faults = this.weather.now();
    const at = new Date().toISOString();
    const line = `${at} ${sentence}${faults.length > 0 ? ` (while: ${faults.join(', ')})` : ''}`;
    this.brokenCount++;
    console.error(`BROKEN ${line}`);
    if (this.sentences.length < MOST) this.sentences.push(line);
  }

  /**
   * Enters an answer { status } or { error }, asked for at a moment, to a request of a kind; good: the statuses that
   * were hoped for. Whether it is one of them.
   */
  enter(kind, answer, from, good = [200]) {
    const what = answer.error ?? answer.status;
    count((this.answers[kind] ??= {}), what);
    if (good.includes(answer.status)) return true;
    const faults = this.weather.between(from, Date.now());
    if (!this.#excused(answer, faults)) {
      const detail = answer.body ? `: ${String(answer.body).slice(0, 300)}` : '';
      this.broken(`${kind} was answered with ${what}${detail}`);
    }
    for (const name of faults) count((this.during[name] ??= {}), what);
    return false;
  }

  #excused({ status, error }, faults) {
    if (faults.length === 0) return false;
    return error !== undefined || BUSY.has(status) || (status === FULL && faults.includes(FULL_DISK));
  }
}
