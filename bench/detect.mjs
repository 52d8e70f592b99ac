// `nexus detect` over a folder of 1080p JPEGs against bare parallel Runs of the same model, in turns;
// and, with a MODEL, against those of the default model at its own size.
// Usage: node bench/detect.mjs [MODEL]
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cores, fixed, median, pictures, rawRuns, runNexus, table } from './lib.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const PICTURES = 160;
const model = process.argv[2];
const files = pictures();
const folder = mkdtempSync(join(tmpdir(), 'nexus-bench-'));
for (let i = 0; i < PICTURES; i++) {
  symlinkSync(files[i % files.length], join(folder, `${String(i).padStart(4, '0')}.jpg`));
}

try {
  const raws = [];
  const rates = [];
  const ratios = [];
  const multiples = [];
  for (let round = 0; round < ROUNDS; round++) {
    // raw before and after, so that a slow spell of the machine hits both sides
    const before = (await rawRuns({ seconds: 4, model, image: files[0] })).run.images_per_second;
    const args = ['detect', folder, '-f', 'ndjson', '-o', '/dev/null', '-w', `${cores}`];
    const { stderr } = await runNexus(model ? [...args, '-m', model] : args);
    const after = (await rawRuns({ seconds: 4, model, image: files[0] })).run.images_per_second;
    const plain = model ? (await rawRuns({ seconds: 4 })).run.images_per_second : NaN;
    const rate = Number(stderr.match(/\(([\d.]+)\/s\)/)[1]);
    raws.push((before + after) / 2);
    rates.push(rate);
    ratios.push(rate / ((before + after) / 2));
    multiples.push(rate / plain);
  }
  table(`nexus detect, ${PICTURES} JPEGs of 1080p, ${cores} cores, medians of ${ROUNDS} rounds`, [
    ['bare parallel Runs', `${fixed(median(raws))}/s`],
    ['nexus detect, decoding included', `${fixed(median(rates))}/s`],
    ['share of the raw throughput', `${fixed(100 * median(ratios))} %`, `at least ${model ? 75 : 92} %`],
    ['every round', ratios.map((ratio) => fixed(100 * ratio)).join(', ')],
    ...(model
      ? [
          ['as a multiple of bare Runs of the default model', fixed(median(multiples), 2), 'INT8: at least 4'],
          ['every round', multiples.map((multiple) => fixed(multiple, 2)).join(', ')],
        ]
      : []),
  ]);
} finally {
  rmSync(folder, { recursive: true });
}
