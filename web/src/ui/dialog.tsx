// A question in front of the page. The browser's own <dialog> keeps the focus inside and closes it
// with Escape.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Problem } from '../api/http.ts';
import { Icon } from './icon.tsx';
import { ProblemLine } from './page.tsx';

let ids = 0;

export function Dialog(props: {
  title: string;
  onClose: () => void;
  wide?: boolean;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useRef(`dialog-${++ids}`);
  useEffect(() => {
    const dialog = element.current as HTMLDialogElement;
    const before = document.activeElement as HTMLElement | null;
    dialog.showModal();
    return () => {
      dialog.close();
      before?.focus(); // where the person was
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={props.wide ? 'dialog wide' : 'dialog'}
      aria-labelledby={id.current}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
    >
      <header class="dialog-head">
        <h2 id={id.current}>{props.title}</h2>
        <button class="icon-button" type="button" aria-label="Close" onClick={props.onClose}>
          <Icon name="close" />
        </button>
      </header>
      {props.children}
    </dialog>
  );
}

/** "Do you really?" onYes does it; the dialog stays with what went wrong. */
export function Confirm(props: {
  title: string;
  yes: string;
  busy: boolean;
  problem: Problem | null;
  onYes: () => void;
  onClose: () => void;
  children: ComponentChildren;
}) {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <div class="dialog-body">{props.children}</div>
      <ProblemLine problem={props.problem} />
      <div class="dialog-actions">
        <button class="button" type="button" onClick={props.onClose}>
          Keep it
        </button>
        <button class="button danger" type="button" disabled={props.busy} onClick={props.onYes}>
          {props.yes}
        </button>
      </div>
    </Dialog>
  );
}
