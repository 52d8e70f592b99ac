// Who looks at the page.

import type { Me } from '../api/accounts.ts';
import { observable } from '../observable.ts';

/** null: not known yet, or nobody; the door is shut then. */
export const me = observable<Me | null>(null);

/** Goes up each time that somebody may use the page (again). */
export const entered = observable(0);
