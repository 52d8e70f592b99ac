// Uploads under way, above the list of videos.

import { bytes } from '../format.ts';
import { useObserved } from '../observable.ts';
import { Icon } from '../ui/icon.tsx';
import { Meter } from '../ui/meter.tsx';
import { dismiss, resume, uploads, type Upload } from './uploads.ts';

function words({ state, sent, size, problem }: Upload): string {
  const share = `${Math.floor((100 * sent) / size)} % of ${bytes(size)}`;
  switch (state) {
    case 'sending':
      return sent < size ? share : 'The server looks into it…';
    case 'waiting':
      return `${share}. Waiting to go on: ${problem?.detail ?? ''}`;
    case 'paused':
      return `${share}. Stopped: ${problem?.detail ?? ''}`;
    case 'lost':
      return 'Not finished. Choose the same file again, and it goes on where it was.';
    case 'done':
      return 'It is there.';
    case 'failed':
      return [problem?.detail, problem?.advice].filter(Boolean).join('. ');
  }
}

function Row({ upload, onDone }: { upload: Upload; onDone: () => void }) {
  const { key, name, state, sent, size, video } = upload;
  const id = video?.split('/').pop();
  return (
    <li class="upload" data-state={state}>
      <div class="upload-words">
        <span class="upload-name">{id ? <a href={`/videos/${id}`}>{name}</a> : name}</span>
        <span class="upload-state" role="status">
          {words(upload)}
        </span>
      </div>
      <div class="row-actions">
        {state === 'paused' && (
          <button class="button small" type="button" onClick={() => resume(key, onDone)}>
            Go on
          </button>
        )}
        <button
          class="icon-button"
          type="button"
          aria-label={state === 'done' || state === 'failed' ? `Hide ${name}` : `Give up ${name}`}
          onClick={() => dismiss(key)}
        >
          <Icon name="close" />
        </button>
      </div>
      {['sending', 'waiting', 'paused'].includes(state) && <Meter share={sent / size} label={`Upload of ${name}`} />}
    </li>
  );
}

export function UploadList({ onDone }: { onDone: () => void }) {
  const list = useObserved(uploads);
  if (list.length === 0) {
    return null;
  }
  return (
    <section class="card" aria-labelledby="uploads-title">
      <h2 id="uploads-title">Uploads</h2>
      <ul class="plain-list uploads">
        {list.map((upload) => (
          <Row key={upload.key} upload={upload} onDone={onDone} />
        ))}
      </ul>
    </section>
  );
}
