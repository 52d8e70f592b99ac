// The tables at the end.
import { fixed, grid } from '../lib.mjs';

const told = (counts = {}) => Object.entries(counts).map(([name, value]) => `${name}: ${value}`).join(', ') || 'none';
const three = ({ tenth, end, most }) => [tenth, end, most].map((value) => fixed(value, 0)).join(', ');

function faultRows({ had, journal }) {
  return Object.entries(had).sort().map(([name, seconds]) =>
    [name, seconds.length, `${fixed(Math.max(...seconds))} s`, told(journal.during[name])]);
}

export function report({ had, journal, jobs, end, tally, lives, audit, codes }) {
  grid('Faults', ['fault', 'times', 'well again after, at most', 'failed meanwhile, by status or error'], faultRows({ had, journal }));
  grid('Answers', ['kind', 'by status or error'], Object.entries(journal.answers).map(([kind, counts]) => [kind, told(counts)]));
  grid('Memory in MB and descriptors, after a tenth, at the end, at most', ['process', 'lived', 'memory', 'descriptors', 'judged'],
    lives.map((life) => [`${life.name} (${life.pid})`, `${fixed(life.seconds, 0)} s`, three(life.memory), three(life.descriptors), life.judged ? 'yes' : 'no']));
  grid('All in all', ['what', 'count'], [
    ['faults', Object.values(had).flat().length],
    ['jobs accepted; their ends', `${jobs.all.size}; ${told(jobs.states)}`],
    ['jobs whose key was sent twice', jobs.askedAgain],
    ['jobs that were retried', jobs.retried],
    ['events of streams', end?.events ?? 'unknown'],
    ['deliveries due; posts that were taken', end ? `${end.due}; ${end.posts}` : 'unknown'],
    ['looks at frames; most of one stream', `${tally.frames}; ${told(tally.most)}`],
    ['audit log verified; at the end', `${tally.audits} times; ${audit}`],
    ['said to be lost', told(tally.lost)],
    ['exit codes', told(codes)],
    ['invariants broken', journal.brokenCount],
  ]);
  for (const sentence of journal.sentences) console.log(`\nBROKEN ${sentence}`);
}
