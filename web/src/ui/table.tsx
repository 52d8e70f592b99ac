// Tables that scroll sideways in a card of their own, by keyboard too.

import type { ComponentChildren } from 'preact';

export function TableCard({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="card table-card" tabIndex={0} role="region" aria-label={label}>
      <table>{children}</table>
    </div>
  );
}

/** The head of the column with the buttons. */
export function ActionsHead() {
  return (
    <th scope="col">
      <span class="sr-only">Actions</span>
    </th>
  );
}
