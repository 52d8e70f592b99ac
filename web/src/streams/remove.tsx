// "Remove the stream?"

import { removeStream, type Stream } from '../api/streams.ts';
import { Confirm } from '../ui/dialog.tsx';
import { useAction } from '../ui/load.ts';
import { notify } from '../ui/toast.tsx';

export function RemoveStream(props: { stream: Stream; onDone: () => void; onClose: () => void }) {
  const { stream, onDone } = props;
  const action = useAction();
  return (
    <Confirm
      title="Remove the camera?"
      yes="Remove"
      busy={action.busy}
      problem={action.problem}
      onYes={() =>
        void action.run(async () => {
          await removeStream(stream.id);
          notify(`${stream.name} is removed.`);
          onDone();
        })
      }
      onClose={props.onClose}
    >
      <p>
        <strong>{stream.name}</strong> is watched no more, and its zones, lines and rules go. Its events stay until their
        time is over.
      </p>
    </Confirm>
  );
}
