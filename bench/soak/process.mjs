// A server or a worker that is killed and started again, and that must not end otherwise.
import { start } from '../../tests/e2e/lib/cli.mjs';
import { binary, eventually, startServer } from '../../tests/e2e/lib/server.mjs';

const DAY_MS = 86_400_000;
const START_MS = 60_000;
const STOP_MS = 60_000;
const TAIL = 1500; // characters of a log that are shown

/** kind: serve or worker. settings: { inside, args, env }. broken(sentence): it ended by itself. */
export class Process {
  constructor(name, kind, settings, broken) {
    Object.assign(this, { name, kind, settings, broken, lives: 0, url: undefined, running: undefined });
  }

  get pid() {
    return this.running?.pid;
  }

  async start() {
    const running = await (this.kind === 'serve' ? startServer(this.settings) : this.#startWorker());
    this.lives++;
    this.url = running.url;
    this.running = running;
    running.exited.then((code) => {
      if (this.running !== running) return; // it was ended by us
      this.running = undefined;
      this.broken(`${this.name} ended by itself with ${code}\n${running.logs().slice(-TAIL)}`);
    });
  }

  async #startWorker() {
    const { inside, args, env } = this.settings;
    const [program, ...all] = [...inside, binary, 'worker', ...args];
    const { child, ended } = start(all, { program, env: { LOG_FORMAT: 'json', ...env }, milliseconds: DAY_MS });
    let log = '';
    child.stderr.on('data', (text) => (log += text));
    await eventually(() => child.exitCode !== null || log.includes('ready for jobs'), 'a worker is ready', START_MS);
    return { pid: child.pid, exited: ended.then(({ code, signal }) => code ?? signal), logs: () => log };
  }

  signal(name) {
    process.kill(this.running.pid, name);
  }

  /** Ends it; its exit code, or the name of the signal that ended it. */
  async end(name) {
    const { running } = this;
    if (running === undefined) return undefined;
    this.running = undefined;
    process.kill(running.pid, name);
    const timer = setTimeout(() => process.kill(running.pid, 'SIGKILL'), STOP_MS);
    const code = await running.exited;
    clearTimeout(timer);
    return code;
  }
}
