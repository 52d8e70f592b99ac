// Makes the pictures that the documents show: node tests/e2e/pictures.mjs

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ask, json } from './lib/accounts.mjs';
import { launchBrowser, openPage } from './lib/browser.mjs';
import { makeDataDir, usualDataDir } from './lib/data_dir.mjs';
import { eventually, sharedPath, startServer } from './lib/server.mjs';

const sample = join(usualDataDir, 'samples/dog.jpg');
const ZONES = {
  zones: [{ name: 'left half', polygon: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]] }],
  lines: [{ name: 'middle', from: [0.5, 0], to: [0.5, 1] }],
};
const home = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
const folder = mkdtempSync(join(tmpdir(), 'nexus-pictures-'));
const server = await startServer({ env: { NEXUS_DATA_DIR: home.path, DATABASE_URL: '', OBJECTS_URL: '' } });
const browser = await launchBrowser();

/** Opens a page, does something with it, and keeps a picture of it in docs. */
async function take(name, path, prepare) {
  const { page, close } = await openPage(browser, server.url + path, { viewport: { width: 1280, height: 900 } });
  await prepare(page);
  await page.screenshot({ path: fileURLToPath(new URL(`../../docs/${name}.jpg`, import.meta.url)), type: 'jpeg', quality: 80 });
  await close();
}

async function analyze(page, picture, objects) {
  await page.locator('#choose').setInputFiles(picture);
  await page.locator('#detections tbody tr').nth(objects - 1).waitFor();
}

/** The job of the tutorial's clip, once it is done. */
async function addClip() {
  const clip = join(folder, 'clip.mp4');
  execFileSync('ffmpeg', ['-nostdin', '-v', 'error', '-loop', '1', '-framerate', '5', '-i', sample,
    '-vf', 'crop=576:576:(iw-ow)*(1-cos(PI*t/4))/2:0', '-t', '8', '-pix_fmt', 'yuv420p', clip]);
  const { value: video } = await ask(server, '/api/v1/videos?name=clip.mp4',
    { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: readFileSync(clip) });
  const { value: job } = await ask(server, '/api/v1/videos/process',
    json('POST', { video_id: video.id, ...ZONES }));
  await eventually(async () => (await ask(server, `/api/v1/jobs/${job.id}`)).value.state === 'succeeded', 'the job ends', 120_000);
  return job;
}

try {
  await take('page', '/analyze', (page) => analyze(page, sharedPath('images/bus.jpg'), 5));
  await take('tutorial-analyze', '/analyze', (page) => analyze(page, sample, 3));
  const job = await addClip();
  await take('tutorial-job', `/jobs/${job.id}`, (page) => page.getByText('bicycle').first().waitFor());
  await take('tutorial-overview', '/', async (page) => {
    await page.locator('canvas').first().waitFor();
    const end = Date.now() + 15_000; // a few readings of its figures
    while (Date.now() < end) {
      await ask(server, '/api/v1/inference/image', { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: readFileSync(sample) });
    }
  });
} finally {
  await browser.close();
  await server.stop();
  home.remove();
  rmSync(folder, { recursive: true, force: true });
}
