// How the server is.

import { ApiError, unreachable } from './http.ts';

export interface Readiness {
  status: 'ready' | 'starting' | 'draining';
  version: string;
  model?: {
    name: string;
    input_width: number;
    input_height: number;
    dynamic: boolean;
    classes: number;
  };
  execution_provider?: string;
  runtime?: { name: string; version: string };
  queue?: { depth: number; size: number };
  workers?: number;
}

/** Answers for 200 and 503 alike: both say how the server is. */
export async function readiness(): Promise<Readiness> {
  const response = await fetch('/health/ready', { cache: 'no-store' });
  const body = (await response.json()) as Partial<Readiness> | null;
  if (!body?.status || !body.version) {
    throw new ApiError(unreachable); // some other server's answer, a proxy's perhaps
  }
  return body as Readiness;
}
