// The API's documentation: Swagger UI on this server's own openapi.json.

import { setUpTheme } from './theme.ts';

interface SwaggerOptions {
  url: string;
  dom_id: string;
  deepLinking: boolean;
  validatorUrl: null; // else it would ask a server on the internet
  displayRequestDuration: boolean;
  defaultModelsExpandDepth: number;
}

declare global {
  interface Window {
    SwaggerUIBundle: (options: SwaggerOptions) => unknown;
  }
}

setUpTheme((theme) => document.documentElement.classList.toggle('dark-mode', theme === 'dark'));

window.SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  validatorUrl: null,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
});
