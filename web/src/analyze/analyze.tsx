// Analyze: find objects in a picture, or cut one out. The markup is drawn once and then belongs to the
// modules of this folder, which change it in place.

import { Component } from 'preact';
import { useEffect } from 'preact/hooks';
import { entered } from '../shell/session.ts';
import { useTitle } from '../ui/page.tsx';
import { setUpBatch } from './batch.ts';
import { setUpControls } from './controls.ts';
import { setUpDetector } from './detector.ts';
import { listModels, setUpMode } from './mode.ts';
import { setUpPicture } from './picture.ts';
import { setUpProblem } from './problem.ts';
import { setUpResults } from './results.ts';
import { setUpSave } from './save.ts';
import { setUpSegmenter } from './segmenter.ts';
import { createAppStore } from './state.ts';
import { setUpTimings } from './timings.ts';
import { setUpView } from './view.ts';

function setUp(): void {
  const store = createAppStore();
  setUpMode(store);
  setUpPicture(store);
  setUpView(store);
  setUpControls(store);
  setUpResults(store);
  setUpTimings(store);
  setUpSave(store);
  setUpBatch(store);
  const detector = setUpDetector(store);
  const segmenter = setUpSegmenter(store);
  const ask = (): void => {
    (store.get().mode === 'segment' ? segmenter : detector).ask();
  };
  setUpProblem(store, ask);
  void listModels(store);
  entered.watch(() => {
    void listModels(store);
    ask(); // what was asked before was answered by the door
  });
}

class Markup extends Component {
  override shouldComponentUpdate(): boolean {
    return false;
  }

  render() {
    return (
      <>
        <h1 class="sr-only">Find objects in a picture, or cut one out</h1>

      

        <section class="stage" id="stage" aria-label="Picture" data-state="empty">
          <div class="busy" id="busy" hidden></div>

          <div class="empty">
            <svg class="empty-art" viewBox="0 0 120 96" aria-hidden="true">
              <rect class="sheet" x="14" y="12" width="92" height="72" rx="8" />
              <path class="hills" d="M15 68l22-20 17 15 21-23 30 27v9a7 7 0 0 1-7 7H22a7 7 0 0 1-7-7z" />
              <circle class="sunlet" cx="34" cy="31" r="6" />
              <path class="reticle" d="M56 43v-6a4 4 0 0 1 4-4h6M84 33h6a4 4 0 0 1 4 4v6M94 59v6a4 4 0 0 1-4 4h-6M66 69h-6a4 4 0 0 1-4-4v-6" />
            </svg>
            <p class="empty-title">Drop pictures here</p>
            <p class="empty-text">or paste one from the clipboard.</p>
          </div>

          <figure class="view">
            <div class="frame" id="frame">
              <img id="picture" alt="" />
              <canvas id="overlay" role="img" aria-label="No objects marked yet"></canvas>
            </div>
          </figure>

          <div class="toolbar">
            <p class="file" id="file" hidden><span class="file-name" id="file-name"></span> <span class="file-size" id="file-size"></span></p>
            <div class="actions">
              <button class="button" id="save-picture" type="button" hidden disabled>Save picture</button>
              <button class="button" id="save-cut" type="button" hidden disabled>Save cut-out</button>
              <button class="button" id="save-json" type="button" hidden disabled>Save JSON</button>
              <span class="choose">
                <input class="sr-only" id="choose" type="file" accept="image/jpeg,image/png,image/webp" multiple />
                <label class="button primary" for="choose" id="choose-label">Choose pictures</label>
              </span>
            </div>
          </div>
          <p class="hint" id="hint">JPEG, PNG or WebP. It goes to this server and nowhere else.</p>
        </section>

        <div class="side">
          <div class="problem" id="problem" role="alert" hidden>
            <h2 id="problem-title"></h2>
            <p id="problem-detail"></p>
            <p class="problem-advice" id="problem-advice"></p>
            <p class="problem-request" id="problem-request"></p>
            <button class="button" id="retry" type="button">Try again</button>
          </div>

          <section class="card task" aria-label="Task">
            <div class="segments" role="radiogroup" aria-label="What to do">
              <label><input class="sr-only" type="radio" name="mode" id="mode-detect" value="detect" checked /><span>Find objects</span></label>
              <label><input class="sr-only" type="radio" name="mode" id="mode-segment" value="segment" /><span>Cut out</span></label>
            </div>
            <div class="model-choice" id="model-choice" hidden>
              <label for="model">Model</label>
              <select id="model"></select>
            </div>
          </section>

          <section class="card only-segment" aria-labelledby="cut-title">
            <h2 id="cut-title">Cut out</h2>
            <p class="summary" id="cut-summary" role="status"></p>
            <p class="help">Click on it, or drag a box around it. More points make it more exact; Shift turns a point’s meaning around.</p>
            <div class="segments" role="radiogroup" aria-label="The next point">
              <label><input class="sr-only" type="radio" name="label" id="label-in" value="1" checked /><span>Belongs to it</span></label>
              <label><input class="sr-only" type="radio" name="label" id="label-out" value="0" /><span>Does not</span></label>
            </div>
            <ol class="prompts" id="prompts" hidden></ol>
            <div class="actions">
              <button class="button" id="undo" type="button" disabled>Undo</button>
              <button class="button" id="clear" type="button" disabled>Clear</button>
            </div>
          </section>

          <section class="card only-detect" aria-labelledby="thresholds-title">
            <h2 id="thresholds-title">Thresholds</h2>
            <div class="slider">
              <label for="confidence">Confidence</label>
              <output id="confidence-value" for="confidence">0.25</output>
              <input id="confidence" type="range" min={0} max={1} step={0.01} value="0.25" aria-describedby="confidence-help" />
              <p class="help" id="confidence-help">Leaves out what the model is less sure of.</p>
            </div>
            <div class="slider">
              <label for="iou">Overlap (IoU)</label>
              <output id="iou-value" for="iou">0.45</output>
              <input id="iou" type="range" min={0} max={1} step={0.01} value="0.45" aria-describedby="iou-help" />
              <p class="help" id="iou-help">Boxes of one class that overlap more count once.</p>
            </div>
          </section>

          <section class="card only-detect" aria-labelledby="objects-title">
            <h2 id="objects-title">Objects <span class="count" id="count" hidden></span></h2>
            <p class="summary" id="summary" role="status">Nothing looked at yet.</p>
            <div class="chips" id="chips" role="group" aria-label="Show classes" hidden></div>
            <div class="table-scroll" id="detections-scroll" hidden>
              <table id="detections">
                <caption class="sr-only">Detections, strongest first. Arrow keys move from row to row and mark the box.</caption>
                <thead>
                  <tr>
                    <th scope="col">Class</th>
                    <th scope="col">Confidence</th>
                    <th scope="col"><abbr title="Pixels from the left and top edge: left, top, right, bottom">Box</abbr></th>
                  </tr>
                </thead>
                <tbody></tbody>
              </table>
            </div>
          </section>

          <section class="card" id="tray" aria-labelledby="tray-title" hidden />

          <section class="card" id="timings" aria-labelledby="timings-title" hidden>
            <h2 id="timings-title">Time <span class="count" id="timings-total"></span></h2>
            <div class="timing-bar" id="timing-bar" aria-hidden="true"></div>
            <dl class="timing-list" id="timing-list"></dl>
          </section>
        </div>
      </>
    );
  }
}

function Title() {
  useTitle('Analyze');
  return null;
}

/** Once it was there it stays, and is only hidden. */
export function Analyze({ shown }: { shown: boolean }) {
  useEffect(setUp, []);
  return (
    <div class="analyze" id="analyze" hidden={!shown}>
      {shown && <Title />}
      <Markup />
    </div>
  );
}
