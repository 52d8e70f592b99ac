// A form in front of the page. It stays, with what went wrong, until the work is done.

import type { ComponentChildren } from 'preact';
import { Dialog } from './dialog.tsx';
import { useAction } from './load.ts';
import { ProblemLine } from './page.tsx';

export function FormDialog(props: {
  title: string;
  submit: string;
  work: () => Promise<void>;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const action = useAction();
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(props.work);
        }}
      >
        {props.children}
        <ProblemLine problem={action.problem} />
        <div class="dialog-actions">
          <button class="button" type="button" onClick={props.onClose}>
            Cancel
          </button>
          <button class="button primary" type="submit" disabled={action.busy}>
            {props.submit}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
