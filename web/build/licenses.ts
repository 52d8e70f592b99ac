// Puts the licences of the packages that are bundled into the page beside it, as they ask for.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Plugin } from 'vite';

const { resolve } = createRequire(import.meta.url);

export function licenses(packages: readonly string[]): Plugin {
  return {
    name: 'nexus-licenses',
    generateBundle() {
      const texts = packages.map((name) => {
        const folder = dirname(resolve(`${name}/package.json`));
        const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
        return `${name} ${version}\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8').trim()}\n`;
      });
      this.emitFile({ type: 'asset', fileName: 'assets/app.LICENSE.txt', source: texts.join('\n---\n\n') });
    },
  };
}
