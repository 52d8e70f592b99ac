// The videos: dropped here, listed, removed.

import { useEffect, useState } from 'preact/hooks';
import { may } from '../api/accounts.ts';
import { listVideos, removeVideo, type Video } from '../api/videos.ts';
import { bytes, clock } from '../format.ts';
import { useObserved } from '../observable.ts';
import { me as whoever } from '../shell/session.ts';
import { Confirm } from '../ui/dialog.tsx';
import { Icon } from '../ui/icon.tsx';
import { useAction, useList } from '../ui/load.ts';
import { Blank, LoadedList, Page } from '../ui/page.tsx';
import { ActionsHead, TableCard } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';
import { notify } from '../ui/toast.tsx';
import { UploadList } from '../video/upload_list.tsx';
import { recall, upload } from '../video/uploads.ts';

const types = 'video/*,.mkv,.avi,.ts,.mpg';

/** Files dropped anywhere on the page; whether some are above it now. */
function useDrop(onFiles: (files: File[]) => void, enabled: boolean): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    if (!enabled) {
      return undefined;
    }
    let depth = 0; // dragenter and dragleave come for every element on the way
    const stop = new AbortController();
    const { signal } = stop;
    const count = (change: number): void => {
      depth = Math.max(0, depth + change);
      setOver(depth > 0);
    };
    document.addEventListener(
      'dragenter',
      (event) => count(event.dataTransfer?.types.includes('Files') ? 1 : 0),
      { signal },
    );
    document.addEventListener('dragleave', () => count(-1), { signal });
    document.addEventListener('dragover', (event) => event.preventDefault(), { signal });
    document.addEventListener(
      'drop',
      (event) => {
        event.preventDefault();
        count(-depth);
        onFiles([...(event.dataTransfer?.files ?? [])]);
      },
      { signal },
    );
    return () => stop.abort();
  }, [enabled]);
  return over;
}

function Choose({ onFiles }: { onFiles: (files: File[]) => void }) {
  return (
    <span class="choose">
      <input
        class="sr-only"
        id="choose-videos"
        type="file"
        multiple
        accept={types}
        onChange={(event) => {
          onFiles([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = ''; // so that the same file can be chosen again
        }}
      />
      <label class="button primary" for="choose-videos">
        <Icon name="upload" /> Upload videos
      </label>
    </span>
  );
}

function Row({ video, onRemove }: { video: Video; onRemove: (() => void) | null }) {
  const { width, height, duration_s: duration, codec, fps } = video.video;
  return (
    <tr>
      <th scope="row">
        <a href={`/videos/${video.id}`}>{video.name}</a>
      </th>
      <td class="number">{duration === null ? '–' : clock(duration)}</td>
      <td class="number">{`${width}×${height}`}</td>
      <td class="number">{`${codec}${fps ? `, ${Math.round(fps * 100) / 100} fps` : ''}`}</td>
      <td class="number end">{bytes(video.size_bytes)}</td>
      <td>
        <Time at={video.created_at} />
      </td>
      <td>
        <div class="row-actions">
          {onRemove && (
            <>
              <a class="button small" href={`/videos/${video.id}?analyse`}>
                Analyse
              </a>
              <button class="button small" type="button" aria-label={`Remove ${video.name}`} onClick={onRemove}>
                <Icon name="trash" />
              </button>
            </>
          )}
        </div>
      </td>
    </tr>
  );
}

export function Videos() {
  const canChange = may(useObserved(whoever), 'operator');
  const list = useList<Video>(listVideos, []);
  const [removing, setRemoving] = useState<Video | null>(null);
  const action = useAction();
  const take = (files: File[]): void => upload(files, list.reload);
  const over = useDrop(take, canChange);
  useEffect(() => {
    if (canChange) {
      recall();
    }
  }, [canChange]);

  async function remove(video: Video): Promise<void> {
    const done = await action.run(() => removeVideo(video.id));
    if (done) {
      setRemoving(null);
      notify(`${video.name} is removed.`);
      list.reload();
    }
  }

  return (
    <Page
      title="Videos"
      lead="Drop files anywhere on this page. A broken connection costs nothing: uploads go on where they were."
      actions={canChange && <Choose onFiles={take} />}
    >
      {canChange && <UploadList onDone={list.reload} />}
      <LoadedList
        list={list}
        empty={
          <Blank icon="videos" title="No videos yet">
            {canChange ? 'Drop one here, or choose it above.' : 'Operators can upload some.'}
          </Blank>
        }
      >
        {(items) => (
          <TableCard label="Videos">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Length</th>
                <th scope="col">Size</th>
                <th scope="col">Coding</th>
                <th scope="col" class="end">
                  Bytes
                </th>
                <th scope="col">Added</th>
                <ActionsHead />
              </tr>
            </thead>
            <tbody>
              {items.map((video) => (
                <Row
                  key={video.id}
                  video={video}
                  onRemove={
                    canChange
                      ? () => {
                          action.clear();
                          setRemoving(video);
                        }
                      : null
                  }
                />
              ))}
            </tbody>
          </TableCard>
        )}
      </LoadedList>
      {over && (
        <div class="drop-here" aria-hidden="true">
          <Icon name="upload" /> Drop to upload
        </div>
      )}
      {removing && (
        <Confirm
          title="Remove the video?"
          yes="Remove it"
          busy={action.busy}
          problem={action.problem}
          onYes={() => void remove(removing)}
          onClose={() => setRemoving(null)}
        >
          <p>
            <strong>{removing.name}</strong> goes for good. Jobs that used it keep their results.
          </p>
        </Confirm>
      )}
    </Page>
  );
}
