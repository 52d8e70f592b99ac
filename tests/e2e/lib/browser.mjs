// Debian's Chromium, headless, with a fresh profile and no talk of its own on the network.

import { chromium } from 'playwright-core';

const executablePath = process.env.NEXUS_TEST_CHROMIUM ?? '/usr/bin/chromium';

export function launchBrowser() {
  return chromium.launch({
    executablePath,
    headless: true,
    args: [
      '--no-sandbox', // the tests may run as root, where Chromium's sandbox does not
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/**
 * Opens url in a context of its own and keeps a record of what must not happen: requests to other
 * origins, errors on the console, exceptions, violations of the Content-Security-Policy.
 * Returns {page, record, close}.
 */
export async function openPage(browser, url, contextOptions = {}) {
  const context = await browser.newContext(contextOptions);
  const page = await context.newPage();
  const record = { foreign: [], errors: [], violations: [] };
  const { origin } = new URL(url);

  page.on('request', (request) => {
    const target = new URL(request.url());
    if (target.origin !== origin && !['blob:', 'data:'].includes(target.protocol)) {
      record.foreign.push(request.url());
    }
  });
  page.on('console', (message) => {
    if (message.type() === 'error') {
      record.errors.push(message.text());
    }
  });
  page.on('pageerror', (error) => record.errors.push(String(error)));
  await page.exposeFunction('nexusTestViolation', (text) => record.violations.push(text));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      window.nexusTestViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });

  await page.goto(url);
  return { page, record, close: () => context.close() };
}
