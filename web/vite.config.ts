import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import { apiDocs } from './build/api-docs.ts';
import { licenses } from './build/licenses.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// `npm run dev` serves the page and leaves the API to a running `nexus serve`.
const server = process.env['NEXUS_URL'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  plugins: [apiDocs(here('../openapi.yaml')), licenses(['preact', 'uplot'])],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // the page's Content-Security-Policy keeps everything in files
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    rollupOptions: {
      input: { app: here('index.html'), docs: here('docs.html') },
      output: {
        // No hashes: the server revalidates by ETag, so names may stay.
        entryFileNames: 'assets/[name].js',
        // But not of what is loaded later, which must not be another version's.
        chunkFileNames: ({ isDynamicEntry }) => (isDynamicEntry ? 'assets/[name]-[hash].js' : 'assets/[name].js'),
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
  server: {
    proxy: Object.fromEntries(
      ['/api', '/health', '/metrics', '/openapi.json'].map((path) => [path, server]),
    ),
  },
});
