// Zones and lines as JSON, to be copied, or pasted from elsewhere.

import { useEffect, useState } from 'preact/hooks';
import type { Line, Zone } from '../api/videos.ts';
import type { Shapes } from './zone_editor.tsx';

export function ShapesJson({ shapes, onChange }: { shapes: Shapes; onChange: (shapes: Shapes) => void }) {
  const [text, setText] = useState('');
  const [wrong, setWrong] = useState('');
  useEffect(() => setText(JSON.stringify(shapes, null, 1)), [shapes]);
  function use(): void {
    try {
      const value = JSON.parse(text) as { zones?: Zone[]; lines?: Line[] };
      onChange({ zones: value.zones ?? [], lines: value.lines ?? [] });
      setWrong('');
    } catch (error) {
      setWrong(String((error as Error).message));
    }
  }
  return (
    <details>
      <summary>As JSON</summary>
      <div class="field">
        <textarea
          class="mono"
          rows={8}
          spellcheck={false}
          aria-label="Zones and lines as JSON"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <p class="problem-line" role="alert">
          {wrong}
        </p>
        <div class="actions">
          <button class="button small" type="button" onClick={use}>
            Use it
          </button>
        </div>
      </div>
    </details>
  );
}
