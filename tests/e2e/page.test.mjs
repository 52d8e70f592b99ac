// The first page and the API's documentation, in a real browser on a real server.
//
// NEXUS_TEST_URL names a running server; without it, one is started.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { launchBrowser, openPage } from './lib/browser.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { expectAccessible, inTheDark, screenshot } from './lib/page.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const picture = (name) => sharedPath(`images/${name}`);
const imageApi = '/api/v1/inference/image';

describe('page', { skip: skipWithoutShared() }, () => {
  let home;
  let server;
  let browser;

  before(async () => {
    if (process.env.NEXUS_TEST_URL) {
      server = { url: process.env.NEXUS_TEST_URL.replace(/\/$/, ''), stop: async () => {} };
    } else {
      home = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
      server = await startServer({ env: { NEXUS_DATA_DIR: home.path } });
    }
    browser = await launchBrowser();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
    home?.remove();
  });

  // Runs body on a fresh page, and holds the page to its promises afterwards.
  async function onPage(path, options, body) {
    const { failedRequests = 0, origin = server.url, ...contextOptions } = options;
    const { page, record, close } = await openPage(browser, origin + path, contextOptions);
    page.setDefaultTimeout(60_000);
    try {
      await body(page);
      assert.deepEqual(record.foreign, [], 'requests to other origins');
      assert.deepEqual(record.violations, [], 'violations of the Content-Security-Policy');
      // Chromium notes an answer of 400 and more as an error; a test says how many it provokes.
      const noted = record.errors.filter((text) => /the server responded with a status/.test(text));
      const errors = record.errors.filter((text) => !noted.includes(text));
      assert.deepEqual(errors, [], 'errors on the console');
      assert.equal(noted.length, failedRequests, noted.join('\n'));
    } finally {
      await close();
    }
  }

  const rows = (page) => page.locator('#detections tbody tr');
  const chip = (page, name) => page.locator('#chips button', { hasText: name });

  async function choose(page, name) {
    await page.locator('#choose').setInputFiles(picture(name));
  }

  async function expectRows(page, count) {
    await page.waitForFunction(
      (wanted) =>
        document.getElementById('stage').getAttribute('aria-busy') === 'false' &&
        document.querySelectorAll('#detections tbody tr').length === wanted,
      count,
    );
  }

  /** What the API itself says: the page must show neither more nor less. */
  async function ask(name, query, headers = {}, origin = server.url) {
    const body = readFileSync(picture(name));
    const type = { 'Content-Type': 'application/octet-stream' };
    return fetch(`${origin}${imageApi}?${new URLSearchParams(query)}`, {
      method: 'POST',
      body,
      headers: { ...type, ...headers },
    });
  }

  /** The colour of the canvas at a point of the picture, and of class_id's swatch in the table. */
  function colorsAt(page, x, y, className) {
    return page.evaluate(
      ([x, y, className]) => {
        const canvas = document.getElementById('overlay');
        const { naturalWidth } = document.getElementById('picture');
        const scale = canvas.width / naturalWidth;
        const context = canvas.getContext('2d');
        // A line is a few pixels wide: take the neighbourhood.
        const data = context.getImageData(x * scale - 3, y * scale - 3, 7, 7).data;
        const pixels = [];
        for (let i = 0; i < data.length; i += 4) {
          pixels.push(data.slice(i, i + 4).join());
        }
        const chip = [...document.querySelectorAll('.chip')].find((c) =>
          c.textContent.startsWith(className),
        );
        const swatch = getComputedStyle(chip.querySelector('.swatch')).backgroundColor;
        return { pixels, swatch: `${swatch.match(/\d+/g).join()},255` };
      },
      [x, y, className],
    );
  }

  it('shows what is in bus.jpg', async () => {
    await onPage('/analyze', { viewport: { width: 1360, height: 900 } }, async (page) => {
      await page.locator('#health[data-state=ready]').waitFor();
      assert.match(await page.locator('#health-text').textContent(), /^Ready · yolov8n/);
      assert.match(await page.locator('#server-facts').textContent(), /onnxruntime \d/i);
      await screenshot(page, 'page-empty-light');

      await choose(page, 'bus.jpg');
      await expectRows(page, 5);
      const classes = await rows(page).locator('td:first-child').allTextContents();
      assert.deepEqual(classes, ['person', 'person', 'person', 'bus', 'person']);
      assert.match(await rows(page).nth(0).textContent(), /0\.90\d/);
      assert.equal(await page.locator('#summary').textContent(), '4 person, 1 bus');
      assert.equal(await page.locator('#overlay').getAttribute('aria-label'), 'Marked: 4 person, 1 bus');
      assert.match(await page.locator('#timings').textContent(), /Model[\d.]+ m?s/);
      await screenshot(page, 'page-bus-light');

      // DATA.md: the bus is at 33,230,793,751. At 33,300 is its left edge and nothing else.
      const edge = await colorsAt(page, 33, 300, 'bus');
      assert.ok(edge.pixels.includes(edge.swatch), `${edge.swatch} on the edge of the bus`);
      const sky = await colorsAt(page, 700, 120, 'bus');
      assert.ok(sky.pixels.every((pixel) => pixel === '0,0,0,0'), 'nothing drawn off the boxes');
    });
  });

  it('follows the sliders, moved by keyboard', async () => {
    await onPage('/analyze', {}, async (page) => {
      await choose(page, 'bus.jpg');
      await expectRows(page, 5);
      const slider = page.locator('#confidence');
      await slider.focus();
      for (let i = 0; i < 25; i++) {
        await page.keyboard.press('ArrowRight');
      }
      assert.equal(await page.locator('#confidence-value').textContent(), '0.50');
      await expectRows(page, 4);

      await page.keyboard.press('Home');
      for (let i = 0; i < 5; i++) {
        await page.keyboard.press('ArrowRight');
      }
      const at5 = await (await ask('bus.jpg', { confidence: 0.05, iou: 0.45 })).json();
      assert.ok(at5.detections.length > 5);
      await expectRows(page, at5.detections.length);

      await page.locator('#iou').focus();
      await page.keyboard.press('End');
      const at100 = await (await ask('bus.jpg', { confidence: 0.05, iou: 1 })).json();
      assert.ok(at100.detections.length > at5.detections.length, 'no suppression, more boxes');
      await expectRows(page, at100.detections.length);

      await slider.focus();
      await page.keyboard.press('End');
      await expectRows(page, 0);
      assert.match(await page.locator('#summary').textContent(), /Nothing found/);
    });
  });

  it('shows only the newest answer', async () => {
    await onPage('/analyze', {}, async (page) => {
      await choose(page, 'bus.jpg');
      await expectRows(page, 5);

      // The answer for IoU 1 (no suppression: more boxes) is held back until a newer one is shown.
      let letGo;
      const held = new Promise((resolve) => {
        letGo = resolve;
      });
      await page.route(/iou=1$/, async (route) => {
        await held;
        await route.continue().catch(() => {}); // the page has given it up by then
      });
      const setSlider = (value) =>
        page.locator('#iou').evaluate((slider, to) => {
          slider.value = to;
          slider.dispatchEvent(new Event('input'));
        }, value);
      const asked = page.waitForRequest(/iou=1$/);
      const abandoned = page.waitForEvent('requestfailed', (r) => /iou=1$/.test(r.url()));
      await setSlider('1');
      await asked;
      const answered = page.waitForResponse(/iou=0\.46$/);
      await setSlider('0.46');
      await abandoned;
      await answered;
      await expectRows(page, 5);
      letGo();
      await page.unrouteAll({ behavior: 'wait' });
      await expectRows(page, 5);
    });
  });

  it('filters classes, marks boxes and saves what is shown', async () => {
    await onPage('/analyze', {}, async (page) => {
      await choose(page, 'bus.jpg');
      await expectRows(page, 5);

      await chip(page, 'person').click();
      await expectRows(page, 1);
      assert.equal(await chip(page, 'person').getAttribute('aria-pressed'), 'false');
      const withoutPerson = await colorsAt(page, 280, 407, 'bus');
      const gone = await page.evaluate(() => getComputedStyle(document.querySelector('.chip[aria-pressed=false] .swatch')).borderColor);
      assert.ok(!withoutPerson.pixels.includes(`${gone.match(/\d+/g).join()},255`));

      const jsonDownload = page.waitForEvent('download');
      await page.locator('#save-json').click();
      const json = await jsonDownload;
      assert.equal(json.suggestedFilename(), 'bus.json');
      const saved = JSON.parse(readFileSync(await json.path(), 'utf8'));
      assert.deepEqual(saved.image, { width: 810, height: 1080 });
      assert.deepEqual(saved.detections.map((d) => d.class_name), ['bus']);

      const answered = page.waitForResponse((r) => r.request().headers().accept === 'image/jpeg');
      const pictureDownload = page.waitForEvent('download');
      await page.locator('#save-picture').click();
      assert.equal((await answered).headers()['x-nexus-detections'], '1');
      const jpeg = await pictureDownload;
      assert.equal(jpeg.suggestedFilename(), 'bus-detections.jpg');
      assert.deepEqual([...readFileSync(await jpeg.path()).subarray(0, 3)], [0xff, 0xd8, 0xff]);

      await chip(page, 'bus').click();
      await expectRows(page, 0);
      assert.ok(await page.locator('#save-picture').isDisabled());
      await chip(page, 'person').click();
      await expectRows(page, 4);

      // The pointer on a box marks its row, a row its box.
      await chip(page, 'bus').click();
      const frame = await page.locator('#frame').boundingBox();
      const scale = frame.width / 810;
      await page.mouse.move(frame.x + 700 * scale, frame.y + 300 * scale);
      assert.equal(await page.locator('tr.marked').locator('td').first().textContent(), 'bus');
    });
  });

  it('takes a dropped and a pasted picture', async () => {
    await onPage('/analyze', {}, async (page) => {
      const file = readFileSync(picture('bus.jpg')).toString('base64');
      await page.locator('.empty').waitFor();
      const send = (type) =>
        page.evaluate(
          ([type, base64]) => {
            const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], `${type}.jpg`, { type: 'image/jpeg' }));
            const init = { bubbles: true, cancelable: true };
            const target = document.querySelector('.empty');
            if (type === 'paste') {
              document.dispatchEvent(new ClipboardEvent('paste', { ...init, clipboardData: data }));
              return true;
            }
            target.dispatchEvent(new DragEvent('dragenter', { ...init, dataTransfer: data }));
            const lit = document.getElementById('stage').classList.contains('dragging');
            target.dispatchEvent(new DragEvent('dragover', { ...init, dataTransfer: data }));
            target.dispatchEvent(new DragEvent('drop', { ...init, dataTransfer: data }));
            return lit && !document.getElementById('stage').classList.contains('dragging');
          },
          [type, file],
        );
      assert.ok(await send('drop'), 'the stage lights up while a file is over it');
      await expectRows(page, 5);
      assert.equal(await page.locator('#file-name').textContent(), 'drop.jpg');
      await send('paste');
      await page.waitForFunction(() => document.getElementById('file-name').textContent === 'paste.jpg');
      await expectRows(page, 5);
    });
  });

  for (const name of ['odd/truncated.jpg', 'odd/text.jpg']) {
    it(`says what is wrong with ${name}`, async () => {
      await onPage('/analyze', { failedRequests: 1 }, async (page) => {
        const problem = await (await ask(name, { confidence: 0.25, iou: 0.45 })).json();
        await choose(page, name);
        await page.locator('#problem').waitFor();
        assert.equal(await page.locator('#problem-detail').textContent(), problem.detail);
        assert.equal(
          await page.locator('#problem-title').textContent(),
          `${problem.title} (${problem.status})`,
        );
        assert.match(await page.locator('#problem-request').textContent(), /^Request \S+/);
        assert.equal(await page.locator('#summary').textContent(), 'No result.');
        assert.ok(await page.locator('#retry').isHidden(), 'asking again would not help');
        await expectAccessible(page, 'a problem');
        await screenshot(page, `page-problem-${name.replace(/\W/g, '-')}`);

        await choose(page, 'bus.jpg');
        await expectRows(page, 5);
        assert.ok(await page.locator('#problem').isHidden());
      });
    });
  }

  it('can be asked again after a full queue', async () => {
    await onPage('/analyze', { failedRequests: 1 }, async (page) => {
      const full = { title: 'Service Unavailable', status: 503, detail: 'the queue is full' };
      await page.route(`**${imageApi}*`, (route) =>
        route.fulfill({
          status: 503,
          contentType: 'application/problem+json',
          body: JSON.stringify(full),
        }),
      );
      await choose(page, 'bus.jpg');
      await page.locator('#retry').waitFor();
      await page.unrouteAll();
      await page.locator('#retry').click();
      await expectRows(page, 5);
    });
  });

  it('works with the keyboard alone', async () => {
    await onPage('/analyze', {}, async (page) => {
      const chooser = page.waitForEvent('filechooser'); // early: the browser learns of it meanwhile
      const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
      await page.locator('#choose').waitFor({ state: 'attached' });
      await page.keyboard.press('Tab');
      assert.equal(await focused(), 'skip');
      await page.keyboard.press('Enter');
      assert.equal(await focused(), 'main');
      await page.keyboard.press('Tab');
      assert.equal(await focused(), 'choose');
      const outline = await page.locator('#choose-label').evaluate((l) => getComputedStyle(l).outlineStyle);
      assert.equal(outline, 'solid', 'the focus is seen');
      await page.keyboard.press('Space');
      await (await chooser).setFiles(picture('bus.jpg'));
      await expectRows(page, 5);

      const order = [];
      for (let i = 0; i < 5; i++) {
        await page.keyboard.press('Tab');
        order.push(await page.evaluate(() => {
          const { id, tagName, textContent } = document.activeElement;
          return id || (tagName === 'BUTTON' ? textContent.trim() : tagName);
        }));
      }
      assert.deepEqual(order, ['mode-detect', 'confidence', 'iou', 'person 4', 'bus 1']);

      await rows(page).first().focus();
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      assert.equal(await page.locator('tr.marked td').first().textContent(), 'bus');
      await page.keyboard.press('Home');
      assert.ok(await rows(page).first().evaluate((row) => row === document.activeElement));

      await chip(page, 'person').focus();
      await page.keyboard.press('Space');
      await expectRows(page, 1);
      assert.ok(await chip(page, 'person').evaluate((c) => c === document.activeElement));
    });
  });

  describe('cutting out', () => {
    let cutter; // a server with a segmenter and two detectors installed
    before(async () => {
      const home = makeDataDir({
        'yolov8n.onnx': 'models/yolov8n.onnx',
        'yolov8s.onnx': 'models/yolov8s.onnx',
        'mobile-sam/1/encoder.onnx': 'models/mobile_sam_encoder.onnx',
        'mobile-sam/1/decoder.onnx': 'models/mobile_sam_decoder.onnx',
      });
      cutter = { home, server: await startServer({ env: { NEXUS_DATA_DIR: home.path } }) };
    });
    after(async () => {
      await cutter?.server.stop();
      cutter?.home.remove();
    });

    const summary = (page) => page.locator('#cut-summary').textContent();
    const percent = async (page) => Number(/^[\d.]+/.exec(await summary(page))?.[0]);

    async function expectMask(page) {
      await page.waitForFunction(() =>
        /^[\d.]+ % of the picture/.test(document.getElementById('cut-summary').textContent),
      );
    }

    /** A click at a point of bus.jpg. */
    async function point(page, x, y, modifiers = []) {
      const answered = page.waitForResponse((response) => /\/segment(\?|$)/.test(response.url()));
      const frame = await page.locator('#frame').boundingBox();
      const scale = frame.width / 810;
      await page.locator('#overlay').click({ position: { x: x * scale, y: y * scale }, modifiers });
      const response = await answered;
      await expectMask(page);
      return response;
    }

    const alphaAt = (page, x, y) =>
      page.evaluate(
        ([x, y]) => {
          const canvas = document.getElementById('overlay');
          const scale = canvas.width / document.getElementById('picture').naturalWidth;
          return canvas.getContext('2d').getImageData(x * scale, y * scale, 1, 1).data[3];
        },
        [x, y],
      );

    async function onCutPage(options, body) {
      await onPage('/analyze', { origin: cutter.server.url, ...options }, async (page) => {
        await page.getByText('Cut out', { exact: true }).first().click();
        await choose(page, 'bus.jpg');
        await page.waitForFunction(() => document.getElementById('picture').naturalWidth === 810);
        await body(page);
      });
    }

    it('cuts out what was clicked, the second time without sending the picture', async () => {
      await onCutPage({ viewport: { width: 1360, height: 900 } }, async (page) => {
        const first = await point(page, 400, 300);
        assert.equal(first.request().headers()['content-type'], 'image/jpeg');
        // DATA.md: the bus is 32.6 % of the picture.
        assert.ok(Math.abs((await percent(page)) - 32.6) < 0.5, await summary(page));
        assert.ok((await alphaAt(page, 420, 300)) > 0, 'the bus is tinted');
        assert.equal(await alphaAt(page, 700, 100), 0, 'the sky is not');
        assert.match(await page.locator('#timings').textContent(), /Model[\d.]+/);
        await screenshot(page, 'page-cut-light');

        const second = await point(page, 280, 600, ['Shift']);
        assert.equal(second.request().headers()['content-type'], 'application/json');
        assert.deepEqual(await page.locator('#prompts li').allTextContents(), ['In 400, 300', 'Out 280, 600']);
        assert.equal(await alphaAt(page, 285, 620), 0, 'the person is left out');
        await expectAccessible(page, 'a cut-out');

        await page.locator('#undo').click();
        await expectMask(page);
        assert.equal(await page.locator('#prompts li').count(), 1);
        const download = page.waitForEvent('download');
        await page.locator('#save-cut').click();
        const png = await download;
        assert.equal(png.suggestedFilename(), 'bus-cut.png');
        assert.equal(readFileSync(await png.path()).subarray(1, 4).toString(), 'PNG');
        await page.locator('#clear').click();
        assert.match(await summary(page), /Click on something/);
      });
    });

    it('takes a box that is dragged', async () => {
      await onCutPage({}, async (page) => {
        const { x, y, width } = await page.locator('#frame').boundingBox();
        const scale = width / 810;
        await page.locator('#frame').scrollIntoViewIfNeeded();
        const box = await page.locator('#frame').boundingBox();
        assert.deepEqual([box.x, box.width], [x, width], `${y}`);
        await page.mouse.move(box.x + 50 * scale, box.y + 395 * scale);
        await page.mouse.down();
        await page.mouse.move(box.x + 245 * scale, box.y + 480 * scale, { steps: 3 });
        await page.mouse.move(box.x + 245 * scale, box.y + 905 * scale, { steps: 3 });
        await page.mouse.up();
        await expectMask(page);
        // DATA.md: the left person is 5.5 % of the picture.
        assert.ok(Math.abs((await percent(page)) - 5.5) < 0.7, await summary(page));
        assert.match(await page.locator('#prompts li').first().textContent(), /^Box 5\d, 39\d/);
      });
    });

    it('works with the keyboard alone', async () => {
      await onCutPage({ colorScheme: 'dark' }, async (page) => {
        await page.locator('#choose').focus();
        while (!(await page.evaluate(() => document.activeElement.id === 'overlay'))) {
          await page.keyboard.press('Shift+Tab');
        }
        await page.keyboard.press('ArrowUp'); // up from the middle of the picture: onto the bus
        await page.keyboard.press('Shift+ArrowUp');
        await page.keyboard.press('Enter');
        await expectMask(page);
        assert.deepEqual(await page.locator('#prompts li').allTextContents(), ['In 405, 410']);
        await expectAccessible(page, 'a cut-out, dark', inTheDark);
        await screenshot(page, 'page-cut-dark');
        await page.keyboard.press('Backspace');
        assert.equal(await page.locator('#prompts li').count(), 0);
      });
    });

    it('asks the chosen model', async () => {
      await onPage('/analyze', { origin: cutter.server.url }, async (page) => {
        const model = page.locator('#model');
        await model.waitFor();
        assert.deepEqual(await model.locator('option').allTextContents(), ['yolov8n', 'yolov8s']);
        assert.equal(await model.inputValue(), 'yolov8n');
        await choose(page, 'bus.jpg');
        await expectRows(page, 5);
        const asked = page.waitForRequest(/model=yolov8s/);
        await model.selectOption('yolov8s');
        await asked;
        const query = { model: 'yolov8s', confidence: 0.25, iou: 0.45 };
        const { detections } = await (await ask('bus.jpg', query, {}, cutter.server.url)).json();
        const best = rows(page).nth(0).getByText(detections[0].confidence.toFixed(3));
        await best.waitFor();
        await expectRows(page, detections.length);
        await expectAccessible(page, 'the choice of models');
      });
    });

    it('says how to install the segmenter where there is none', async () => {
      const home = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
      const bare = await startServer({ env: { NEXUS_DATA_DIR: home.path } });
      try {
        await onPage('/analyze', { origin: bare.url, failedRequests: 1 }, async (page) => {
          await page.getByText('Cut out', { exact: true }).first().click();
          await choose(page, 'bus.jpg');
          await page.waitForFunction(() => document.getElementById('picture').naturalWidth === 810);
          await page.locator('#overlay').click();
          await page.locator('#problem').waitFor();
          assert.match(await page.locator('#problem').textContent(), /nexus models pull mobile-sam/);
        });
      } finally {
        await bare.stop();
        home.remove();
      }
    });
  });

  for (const colorScheme of ['light', 'dark']) {
    it(`passes axe in ${colorScheme} colours`, async () => {
      const rules = colorScheme === 'dark' ? inTheDark : undefined;
      await onPage('/analyze', { colorScheme, viewport: { width: 1360, height: 900 } }, async (page) => {
        await page.locator('#health[data-state=ready]').waitFor();
        await expectAccessible(page, `the empty page, ${colorScheme}`, rules);
        await screenshot(page, `page-empty-${colorScheme}`);
        await choose(page, 'bus.jpg');
        await expectRows(page, 5);
        await chip(page, 'bus').click();
        await expectRows(page, 4);
        await expectAccessible(page, `the page with a result, ${colorScheme}`, rules);
        await screenshot(page, `page-bus-${colorScheme}-filtered`);
      });
    });
  }

  it('follows the system to dark, and the visitor over the system', async () => {
    await onPage('/', { colorScheme: 'dark' }, async (page) => {
      const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const dark = await background();
      assert.match(await page.locator('#theme').getAttribute('aria-label'), /light/);
      await page.locator('#theme').click();
      const light = await background();
      assert.notEqual(light, dark);
      await page.reload();
      assert.equal(await background(), light, 'the choice is kept');
      await page.locator('#theme').click();
      assert.equal(await background(), dark);
      await page.emulateMedia({ colorScheme: 'light' });
      await page.waitForFunction((was) => getComputedStyle(document.body).backgroundColor !== was, dark);
      assert.equal(await background(), light, 'back with the system, it follows it');
    });
  });

  it('fits a phone', async () => {
    const phone = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true };
    await onPage('/analyze', phone, async (page) => {
      const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok((await overflow()) <= 0);
      await screenshot(page, 'page-phone-empty');
      await choose(page, 'bus.jpg');
      await expectRows(page, 5);
      assert.ok((await overflow()) <= 0);
      await screenshot(page, 'page-phone-bus');
    });
  });

  it('draws on the upright picture, however it is stored', async () => {
    await onPage('/analyze', {}, async (page) => {
      for (const orientation of [1, 3, 6, 8]) {
        await choose(page, `odd/exif-${orientation}.jpg`);
        await page.waitForFunction(
          (name) => document.getElementById('file-name').textContent === name,
          `exif-${orientation}.jpg`,
        );
        const answer = await (await ask(`odd/exif-${orientation}.jpg`, { confidence: 0.25 })).json();
        await expectRows(page, answer.detections.length);
        const { width, height } = await page.locator('#frame').boundingBox();
        assert.ok(Math.abs(width / height - 0.75) < 0.01, `${width}x${height}`);
        const bus = answer.detections.find((d) => d.class_name === 'bus');
        const edge = await colorsAt(page, bus.box.x1, bus.box.y1 + 35, 'bus');
        assert.ok(edge.pixels.includes(edge.swatch), `orientation ${orientation}`);
      }
    });
  });

  it('weighs under 200 KB', async () => {
    await onPage('/', {}, async (page) => {
      const sizes = await page.evaluate(() =>
        [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].map(
          (entry) => entry.transferSize,
        ),
      );
      const total = sizes.reduce((sum, size) => sum + size, 0);
      assert.ok(sizes.length >= 4 && total > 0 && total < 200_000, `${total} bytes`);
    });
  });

  it('documents every operation at /docs', async () => {
    const { paths } = await (await fetch(`${server.url}/openapi.json`)).json();
    const ids = Object.values(paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    );
    for (const colorScheme of ['light', 'dark']) {
      await onPage('/docs', { colorScheme, viewport: { width: 1200, height: 900 } }, async (page) => {
        await page.locator('.opblock').first().waitFor();
        assert.equal(await page.locator('.opblock').count(), ids.length);
        assert.equal(await page.locator('.swagger-ui .errors-wrapper').count(), 0);
        await page.locator('#operations-inference-detectImage .opblock-summary-control').click();
        await page.locator('#operations-inference-detectImage .try-out__btn').click();
        await page.locator('#operations-inference-detectImage input[type=file]').first().waitFor();
        await screenshot(page, `docs-${colorScheme}`);

        const health = page.locator('#operations-operations-getHealth');
        await health.locator('.opblock-summary-control').click();
        await health.locator('.try-out__btn').click();
        await health.locator('.execute').click();
        await health.locator('.live-responses-table').waitFor();
        assert.match(await health.locator('.live-responses-table').textContent(), /"status": "ok"/);
      });
    }
  });
});
