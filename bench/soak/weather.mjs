// When a fault was on: what may fail then must not fail at other times.

const AFTER_MS = 3000; // what began in a fault may still end badly after it

export class Weather {
  windows = []; // { name, begin, end: Infinity while it is on }

  begin(name) {
    this.windows.push({ name, begin: Date.now(), end: Infinity });
  }

  end() {
    this.windows.at(-1).end = Date.now();
  }

  /** Names of the faults between two moments. */
  between(from, to) {
    return this.windows.filter(({ begin, end }) => begin <= to && from <= end + AFTER_MS).map(({ name }) => name);
  }

  now = () => this.between(Date.now(), Date.now());
}
