// The servers that Nexus is measured against: how each is installed, started and tuned.
//
// Every variant is a sensible way to run the server on this many cores; the first is the one that
// was fastest and is measured by default, `bench/peers.mjs --tune` compares them all.
import { join } from 'node:path';
import { cores, root } from '../lib.mjs';

const here = join(root, 'bench/peers');
const venv = (name) => join(root, 'build/peers', name);

const uvicorn = (port, processes, { app = 'app', python = 'python' } = {}) => ({
  command: join(venv(python), 'bin/uvicorn'),
  args: [
    ...[`${app}:app`, '--port', `${port}`, '--workers', `${processes}`],
    ...['--log-level', 'warning', '--no-access-log'],
  ],
  cwd: join(here, 'fastapi'),
});

const fastapi = (engine) => (model, port, { processes, ...settings }) => ({
  ...uvicorn(port, processes),
  env: { ENGINE: engine, MODEL: model, ...settings },
});

const ultralytics = (model, port, { processes }) => ({
  ...uvicorn(port, processes, { app: 'predict', python: 'ultralytics' }),
  env: {
    MODEL: model,
    YOLO_OFFLINE: 'true', // it would look for updates
    YOLO_AUTOINSTALL: 'false',
    YOLO_CONFIG_DIR: venv('ultralytics'),
  },
});

const onePerCore = { name: `${cores} processes x 1 thread`, processes: cores, THREADS: 1, RUNS: 1 };
const threadPool = { name: `1 process, ${cores} Runs x 1 thread`, processes: 1, THREADS: 1, RUNS: cores };
const allInOne = { name: `1 process, 1 Run x ${cores} threads`, processes: 1, THREADS: cores, RUNS: 1 };
const ahead = (variant) => ({ ...variant, name: `${variant.name}, 1 picture ahead`, AHEAD: 1 });

const node = (model, port, { processes, ...settings }) => ({
  command: process.execPath,
  args: [join(here, 'node/server.mjs')],
  env: { MODEL: model, PORT: port, PROCESSES: processes, NODE_ENV: 'production', ...settings },
});

export const peers = [
  {
    name: 'FastAPI + cv2 + ONNX Runtime',
    install: 'fastapi',
    start: fastapi('onnxruntime'),
    variants: [ahead(threadPool), threadPool, onePerCore, ahead(onePerCore), allInOne, ahead(allInOne)],
    sources: ['fastapi/app.py', 'fastapi/engines.py', 'fastapi/vision.py'],
  },
  {
    name: 'Node + sharp + ONNX Runtime',
    install: 'node',
    start: node,
    variants: [onePerCore, ahead(onePerCore), threadPool, ahead(threadPool), allInOne, ahead(allInOne)],
    sources: ['node/server.mjs'],
  },
  {
    name: 'FastAPI + cv2 + OpenVINO',
    install: 'openvino',
    start: fastapi('openvino'),
    variants: [ahead(threadPool), threadPool, onePerCore, ahead(onePerCore), allInOne, ahead(allInOne)],
    sources: ['fastapi/app.py', 'fastapi/engines.py', 'fastapi/vision.py'],
  },
  {
    name: 'FastAPI + Ultralytics predict',
    install: 'ultralytics',
    start: ultralytics,
    variants: [{ name: '1 process', processes: 1 }, { name: `${cores} processes`, processes: cores }],
    sources: ['fastapi/predict.py'],
  },
  {
    name: 'FastAPI + cv2.dnn',
    install: 'fastapi',
    start: fastapi('opencv'),
    variants: [onePerCore, allInOne],
    sources: ['fastapi/app.py', 'fastapi/engines.py', 'fastapi/vision.py'],
    optional: true, // less than half as fast as the others: not worth its minute in every run
  },
].map((peer) => ({ ...peer, path: '/detect', sources: peer.sources.map((file) => join(here, file)) }));
