import { createHash } from 'node:crypto';

/** In hex, as the API and the names of objects have it. */
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
