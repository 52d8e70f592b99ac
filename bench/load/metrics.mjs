// What a server says of itself at /metrics, between two moments.

/** Series to value, of Prometheus' text format. */
export async function scrape(url, headers = {}) {
  const answer = await fetch(`${url}/metrics`, { headers });
  if (!answer.ok) throw new Error(`${url}/metrics: ${answer.status}`);
  const lines = (await answer.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => {
    const space = line.lastIndexOf(' ');
    return [line.slice(0, space), Number(line.slice(space + 1))];
  }));
}

const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

/** [labels, growth] of a family's series that have these labels. */
function growth(before, after, family, wanted = {}) {
  return [...after].flatMap(([series, value]) => {
    const brace = series.indexOf('{');
    if ((brace < 0 ? series : series.slice(0, brace)) !== family) return [];
    const labels = Object.fromEntries([...series.matchAll(LABEL)].map(([, name, text]) => [name, text]));
    const fits = Object.entries(wanted).every(([name, text]) => labels[name] === text);
    return fits ? [[labels, value - (before.get(series) ?? 0)]] : [];
  });
}

/** Growth of a counter by the values of one label; those that have not grown are left out. */
export function growthBy(before, after, family, label, wanted) {
  const all = growth(before, after, family, wanted).filter(([, value]) => value !== 0);
  return Object.fromEntries(all.map(([labels, value]) => [labels[label], value]));
}

/** What a histogram has seen: { count, mean, buckets: [upper bound, how many up to it] }, or nothing. */
export function histogram(before, after, family, labels) {
  const of = (suffix) => growth(before, after, `${family}_${suffix}`, labels)[0]?.[1] ?? 0;
  const count = of('count');
  if (count === 0) return undefined;
  const bound = (text) => (text === '+Inf' ? Infinity : Number(text));
  const buckets = growth(before, after, `${family}_bucket`, labels)
    .map(([{ le }, value]) => [bound(le), value])
    .sort(([a], [b]) => a - b);
  return { count, mean: of('sum') / count, buckets };
}

/** The bounds between which the given share of what was seen ends. */
export function between(seen, share) {
  const rank = 1 + Math.round(share * (seen.count - 1)); // as percentile() of ../lib.mjs counts
  const index = seen.buckets.findIndex(([, upTo]) => upTo >= rank);
  return { above: index > 0 ? seen.buckets[index - 1][0] : 0, upTo: seen.buckets[index][0] };
}
