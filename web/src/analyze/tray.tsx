// The list of several pictures: how far each is, and which one lies on the stage.

import { countClasses, countsInWords, type AppStore, type BatchEntry } from './state.ts';
import { saveJson } from './save.ts';

function Found({ entry }: { entry: BatchEntry }) {
  if (entry.item === null) {
    return <span class="tray-found">waiting</span>;
  }
  if (entry.item.status === 'error') {
    return <span class="tray-why">{entry.item.error.detail}</span>;
  }
  const { detections } = entry.item;
  return <span class="tray-found">{countsInWords(countClasses(detections)) || 'nothing'}</span>;
}

export function Tray({ store }: { store: AppStore }) {
  const { batch, picture } = store.get();
  const done = batch.filter(({ item }) => item !== null).length;
  const save = (): void =>
    saveJson(
      batch.map(({ file, item }) => ({ source: file.name, ...item })),
      'pictures.json',
    );
  return (
    <>
      <h2 id="tray-title">
        Pictures <span class="count">{batch.length}</span>
      </h2>
      <p class="summary" role="status">
        {done < batch.length ? `${done} of ${batch.length} looked at.` : 'All looked at.'}
      </p>
      <ol class="tray-list">
        {batch.map((entry) => (
          <li key={entry.file}>
            <button
              type="button"
              aria-current={picture?.file === entry.file}
              onClick={() => store.set({ wanted: entry.file })}
            >
              <span class="tray-name">{entry.file.name}</span>
              <Found entry={entry} />
            </button>
          </li>
        ))}
      </ol>
      <button class="button" type="button" disabled={done < batch.length} onClick={save}>
        Save all as JSON
      </button>
    </>
  );
}
