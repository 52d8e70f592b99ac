// The first page in a browser that has never seen it: what comes over the wire, when its heading is there, and when it
// is interactive, which is taken by its word: a click on a link of its navigation, made as soon as the link is there, has
// shown the other page. On this machine, and as a phone sees it (Chromium's own slow-down: a processor a quarter as
// fast, 10 Mbit/s, 40 ms there and back).
// Usage: node bench/page.mjs [MODEL.onnx]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launchBrowser } from '../tests/e2e/lib/browser.mjs';
import { startServer } from '../tests/e2e/lib/server.mjs';
import { fixed, ortLibrary, percentile, shared, table } from './lib.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 15);
const model = process.argv[2] ?? join(shared, 'models/yolov8n.onnx');
const phone = { latency: 40, downloadThroughput: 10e6 / 8, uploadThroughput: 10e6 / 8, offline: false };

async function load(browser, url, slow) {
  const context = await browser.newContext(slow ? { viewport: { width: 360, height: 740 }, hasTouch: true } : {});
  try {
    const page = await context.newPage();
    const session = await context.newCDPSession(page);
    await session.send('Network.enable');
    if (slow) {
      await session.send('Network.emulateNetworkConditions', phone);
      await session.send('Emulation.setCPUThrottlingRate', { rate: 4 });
    }
    let bytes = 0;
    session.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
    await page.addInitScript(() => {
      const look = () => {
        const heading = document.querySelector('h1')?.textContent;
        const link = document.querySelector('#nav a[href="/analyze"]');
        if (window.shownAt === undefined && heading && link) {
          window.shownAt = performance.now();
          window.firstHeading = heading;
          link.click();
        } else if (window.interactiveAt === undefined && window.shownAt !== undefined && location.pathname === '/analyze' && heading !== window.firstHeading) {
          window.interactiveAt = performance.now();
        }
      };
      new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true });
    });
    await page.goto(url);
    await page.waitForFunction(() => window.interactiveAt !== undefined, undefined, { timeout: 30_000 });
    return await page.evaluate((kb) => ({ kb, shown: window.shownAt, interactive: window.interactiveAt }), bytes / 1024);
  } finally {
    await context.close();
  }
}

const folder = mkdtempSync(join(tmpdir(), 'nexus-bench-'));
const env = { NEXUS_ORT_LIBRARY: ortLibrary, DATABASE_URL: '', OBJECTS_URL: '' };
const server = await startServer({ args: ['--data-dir', folder, '--model', model], env });
const browser = await launchBrowser();
try {
  const rows = [];
  for (const [who, slow] of [['this machine', false], ['a phone', true]]) {
    const loads = [];
    for (let i = 0; i <= ROUNDS; i++) {
      const one = await load(browser, server.url, slow);
      if (i > 0) loads.push(one); // the first one starts Chromium's own processes
    }
    const both = (name) => [0.5, 0.95].map((share) => fixed(percentile(loads.map((one) => one[name]), share), 0)).join(', ');
    rows.push(
      [`${who}: heading and navigation there, p50, p95`, `${both('shown')} ms`],
      [`${who}: a click has been followed, p50, p95`, `${both('interactive')} ms`, 'under 1000 ms'],
      [`${who}: over the wire`, `${both('kb')} KB`, 'under 200 KB'],
    );
  }
  table(`The first page, ${ROUNDS} times each`, rows);
} finally {
  await browser.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
