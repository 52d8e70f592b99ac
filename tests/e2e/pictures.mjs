// Makes the pictures that the documents show: node tests/e2e/pictures.mjs

import { fileURLToPath } from 'node:url';
import { launchBrowser, openPage } from './lib/browser.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sharedPath, startServer } from './lib/server.mjs';

const home = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
const server = await startServer({ env: { NEXUS_DATA_DIR: home.path } });
const browser = await launchBrowser();
try {
  const { page, close } = await openPage(browser, `${server.url}/analyze`, { viewport: { width: 1280, height: 900 } });
  await page.locator('#choose').setInputFiles(sharedPath('images/bus.jpg'));
  await page.locator('#detections tbody tr').nth(4).waitFor();
  const path = fileURLToPath(new URL('../../docs/page.jpg', import.meta.url));
  await page.screenshot({ path, type: 'jpeg', quality: 80 });
  await close();
} finally {
  await browser.close();
  await server.stop();
  home.remove();
}
