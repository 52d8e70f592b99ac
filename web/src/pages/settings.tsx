// What the server runs with, and where each value comes from.

import { useMemo, useState } from 'preact/hooks';
import { listSettings, type Setting } from '../api/server.ts';
import { Badge } from '../ui/badge.tsx';
import { TextField } from '../ui/field.tsx';
import { useLoad } from '../ui/load.ts';
import { Blank, Loaded, Page } from '../ui/page.tsx';
import { TableCard } from '../ui/table.tsx';

const sources: Record<Setting['source'], string> = {
  default: 'default',
  profile: 'profile',
  file: 'file',
  environment: 'environment',
  option: 'command line',
  secret_file: 'secret’s file',
};

function Value({ setting: { value, is_set: isSet, source, default: standard } }: { setting: Setting }) {
  return (
    <>
      {isSet ? <code>{value}</code> : <span class="soft">not set</span>}
      {source !== 'default' && standard !== value && (
        <div class="help small-text">default: {standard === '' ? 'not set' : <code>{standard}</code>}</div>
      )}
    </>
  );
}

function Row({ setting }: { setting: Setting }) {
  const { name, environment, description, origin, source, reloadable } = setting;
  return (
    <tr>
      <th scope="row">
        <code>{name}</code>
        <div class="help small-text">{description}</div>
      </th>
      <td class="value-cell">
        <Value setting={setting} />
      </td>
      <td>
        <Badge tone={source === 'default' ? 'quiet' : 'busy'}>{sources[source]}</Badge>
        {source !== 'default' && <div class="help small-text mono">{origin}</div>}
      </td>
      <td>
        <code class="small-text">{environment}</code>
      </td>
      <td>{reloadable ? 'SIGHUP' : 'restart'}</td>
    </tr>
  );
}

export function Settings() {
  const load = useLoad(listSettings, []);
  const [words, setWords] = useState('');
  const [onlySet, setOnlySet] = useState(false);
  const shown = useMemo(() => {
    const wanted = words.trim().toLowerCase();
    return (load.value ?? []).filter(
      ({ name, environment, description, source }) =>
        (!onlySet || source !== 'default') &&
        [name, environment, description].some((text) => text.toLowerCase().includes(wanted)),
    );
  }, [load.value, words, onlySet]);
  return (
    <Page
      title="Settings"
      lead="What this server runs with, and where each value comes from. They are changed in its file or environment."
    >
      <div class="filters">
        <TextField label="Find" type="search" value={words} onInput={setWords} placeholder="name or word" />
        <label class="check">
          <input type="checkbox" checked={onlySet} onChange={(event) => setOnlySet(event.currentTarget.checked)} />
          only those that somebody has set
        </label>
      </div>
      <Loaded load={load}>
        {() =>
          shown.length === 0 ? (
            <Blank icon="settings" title="No such setting" />
          ) : (
            <TableCard label="Settings">
              <thead>
                <tr>
                  <th scope="col">Setting</th>
                  <th scope="col">Value</th>
                  <th scope="col">From</th>
                  <th scope="col">Environment</th>
                  <th scope="col">A change takes</th>
                </tr>
              </thead>
              <tbody>
                {shown.map((setting) => (
                  <Row key={setting.name} setting={setting} />
                ))}
              </tbody>
            </TableCard>
          )
        }
      </Loaded>
    </Page>
  );
}
