// What lines and zones have counted since the stream was started.

import type { StreamCounts } from '../api/streams.ts';
import { count } from '../format.ts';
import { TableCard } from '../ui/table.tsx';

export function Counts({ counts }: { counts: StreamCounts | null }) {
  const { lines = [], zones = [] } = counts ?? {};
  return (
    <>
      {lines.length > 0 && (
        <TableCard label="Lines crossed">
          <thead>
            <tr>
              <th scope="col">Line</th>
              <th scope="col" class="end">In</th>
              <th scope="col" class="end">Out</th>
            </tr>
          </thead>
          <tbody>
            {lines.map((line) => (
              <tr key={line.name}>
                <th scope="row">{line.name}</th>
                <td class="number end">{count(line.in)}</td>
                <td class="number end">{count(line.out)}</td>
              </tr>
            ))}
          </tbody>
        </TableCard>
      )}
      {zones.length > 0 && (
        <TableCard label="Zones entered">
          <thead>
            <tr>
              <th scope="col">Zone</th>
              <th scope="col" class="end">Inside</th>
              <th scope="col" class="end">Entries</th>
              <th scope="col" class="end">Exits</th>
            </tr>
          </thead>
          <tbody>
            {zones.map((zone) => (
              <tr key={zone.name}>
                <th scope="row">{zone.name}</th>
                <td class="number end">{count(zone.inside)}</td>
                <td class="number end">{count(zone.entries)}</td>
                <td class="number end">{count(zone.exits)}</td>
              </tr>
            ))}
          </tbody>
        </TableCard>
      )}
    </>
  );
}
