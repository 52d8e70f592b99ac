import { setUpAccount } from './account.ts';
import { setUpControls } from './controls.ts';
import { setUpDetector } from './detector.ts';
import { setUpHealth } from './health.ts';
import { listModels, setUpMode } from './mode.ts';
import { setUpPicture } from './picture.ts';
import { setUpProblem } from './problem.ts';
import { setUpResults } from './results.ts';
import { setUpSave } from './save.ts';
import { setUpSegmenter } from './segmenter.ts';
import { createAppStore } from './state.ts';
import { setUpTheme } from './theme.ts';
import { setUpTimings } from './timings.ts';
import { setUpView } from './view.ts';

const store = createAppStore();

setUpTheme();
setUpHealth();
setUpMode(store);
setUpPicture(store);
setUpView(store);
setUpControls(store);
setUpResults(store);
setUpTimings(store);
setUpSave(store);
const detector = setUpDetector(store);
const segmenter = setUpSegmenter(store);
const ask = (): void => {
  (store.get().mode === 'segment' ? segmenter : detector).ask();
};
setUpProblem(store, ask);
void setUpAccount((wasShut) => {
  void listModels(store);
  if (wasShut) {
    ask(); // what was asked before was answered by the door
  }
});
