import { setUpControls } from './controls.ts';
import { setUpDetector } from './detector.ts';
import { setUpHealth } from './health.ts';
import { setUpPicture } from './picture.ts';
import { setUpProblem } from './problem.ts';
import { setUpResults } from './results.ts';
import { setUpSave } from './save.ts';
import { createAppStore } from './state.ts';
import { setUpTheme } from './theme.ts';
import { setUpTimings } from './timings.ts';
import { setUpView } from './view.ts';

const store = createAppStore();

setUpTheme();
setUpHealth();
setUpPicture(store);
setUpView(store);
setUpControls(store);
setUpResults(store);
setUpTimings(store);
setUpSave(store);
const detector = setUpDetector(store);
setUpProblem(store, detector.ask);
