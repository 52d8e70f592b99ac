// One video: looked at, or given to be analysed.

import { useState } from 'preact/hooks';
import { may } from '../api/accounts.ts';
import { getVideo, type Video } from '../api/videos.ts';
import { bytes, clock, dateTime } from '../format.ts';
import { useObserved } from '../observable.ts';
import { me as whoever } from '../shell/session.ts';
import { Icon } from '../ui/icon.tsx';
import { useLoad } from '../ui/load.ts';
import { Loaded, Page } from '../ui/page.tsx';
import { Player } from '../video/player.tsx';
import { ProcessForm } from '../video/process_form.tsx';

function Facts({ video: { video, size_bytes, created_at, sha256 } }: { video: Video }) {
  const rows: [string, string][] = [
    ['Picture', `${video.width}×${video.height}${video.fps ? `, ${Math.round(video.fps * 100) / 100} fps` : ''}`],
    ['Length', video.duration_s === null ? 'not known' : clock(video.duration_s)],
    ['Coding', `${video.codec} in ${video.container}`],
    ['Size', bytes(size_bytes)],
    ['Added', dateTime(created_at)],
    ['SHA-256', sha256],
  ];
  return (
    <section class="card" aria-labelledby="facts-title">
      <h2 id="facts-title">About it</h2>
      <dl class="facts">
        {rows.map(([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd class={name === 'SHA-256' ? 'mono' : ''}>{value}</dd>
          </>
        ))}
      </dl>
    </section>
  );
}

export function VideoPage({ id, analyse }: { id: string; analyse: boolean }) {
  const canChange = may(useObserved(whoever), 'operator');
  const load = useLoad((signal) => getVideo(id, signal), [id]);
  const [analysing, setAnalysing] = useState(analyse && canChange);
  const { value: video } = load;
  return (
    <Page
      title={video?.name ?? 'Video'}
      back={{ href: '/videos', text: 'Videos' }}
      actions={
        video && (
          <>
            <a class="button" href={video.content} download={video.name}>
              <Icon name="download" /> Download
            </a>
            {canChange && (
              <button class="button primary" type="button" onClick={() => setAnalysing(!analysing)}>
                {analysing ? 'Look at it' : 'Analyse'}
              </button>
            )}
          </>
        )
      }
    >
      <Loaded load={load}>
        {(value) =>
          analysing ? (
            <ProcessForm video={value} />
          ) : (
            <>
              <Player video={value} seek={null} />
              <Facts video={value} />
            </>
          )
        }
      </Loaded>
    </Page>
  );
}
