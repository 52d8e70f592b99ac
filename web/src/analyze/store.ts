// State in one place, with subscribers that name what they read.

export interface Store<State extends object> {
  get(): Readonly<State>;
  set(change: Partial<State>): void;
  /** Calls listener now, and again whenever one of keys has changed. */
  watch(keys: readonly (keyof State)[], listener: (state: Readonly<State>) => void): void;
}

export function createStore<State extends object>(initial: State): Store<State> {
  let state = initial;
  const watchers: { keys: readonly (keyof State)[]; listener: (state: State) => void }[] = [];
  return {
    get: () => state,

    set(change) {
      const before = state;
      const after = { ...state, ...change };
      state = after;
      for (const { keys, listener } of watchers) {
        if (keys.some((key) => before[key] !== after[key])) {
          listener(state); // which an earlier listener may have changed further
        }
      }
    },

    watch(keys, listener) {
      watchers.push({ keys, listener });
      listener(state);
    },
  };
}
