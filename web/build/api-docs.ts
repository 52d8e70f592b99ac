// Puts the API documentation into the build: openapi.json, and Swagger UI's own files as they come.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Plugin } from 'vite';
import { loadOpenapi } from './openapi.ts';

const swagger = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));

// Name in the build, file of swagger-ui-dist.
const files: Record<string, string> = {
  'assets/swagger-ui.css': 'swagger-ui.css',
  'assets/swagger-ui.js': 'swagger-ui-bundle.js',
  'assets/swagger-ui.LICENSE.txt': 'LICENSE',
  'assets/swagger-ui.NOTICE.txt': 'NOTICE',
  'assets/swagger-ui-bundle.js.LICENSE.txt': 'swagger-ui-bundle.js.LICENSE.txt',
};

// Both files end with a comment that names a source map, which is not served.
const withoutSourceMap = (text: string): string =>
  text.replace(/\/[/*]# sourceMappingURL=[^\n]*\n?$/, '');

export function apiDocs(openapiFile: string): Plugin {
  const read = (file: string): string => withoutSourceMap(readFileSync(join(swagger, file), 'utf8'));
  return {
    name: 'nexus-api-docs',

    async generateBundle() {
      const openapi = await loadOpenapi(openapiFile);
      this.emitFile({ type: 'asset', fileName: 'openapi.json', source: openapi });
      for (const [fileName, file] of Object.entries(files)) {
        this.emitFile({ type: 'asset', fileName, source: read(file) });
      }
    },

    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const file = files[(request.url ?? '').slice(1)];
        if (file === undefined) {
          next();
          return;
        }
        const type = file.endsWith('.css') ? 'text/css' : 'text/javascript';
        response.setHeader('Content-Type', `${type}; charset=utf-8`);
        response.end(read(file));
      });
    },

    // Added here rather than in docs.html, where Vite would try to bundle them.
    transformIndexHtml: {
      order: 'post',
      handler(_html, context) {
        if (!context.path.endsWith('docs.html')) {
          return [];
        }
        return [
          {
            tag: 'link',
            attrs: { rel: 'stylesheet', href: '/assets/swagger-ui.css' },
            injectTo: 'head-prepend',
          },
          {
            tag: 'script',
            attrs: { src: '/assets/swagger-ui.js', defer: true }, // runs before docs.ts, being first
            injectTo: 'head-prepend',
          },
        ];
      },
    },
  };
}
