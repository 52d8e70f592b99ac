// A model from a file: the next version of its name, serving as soon as it was tried.

import { useState } from 'preact/hooks';
import { addModel, type ModelInfo } from '../api/models.ts';
import { SelectField, TextField, useId } from '../ui/field.tsx';
import { FormDialog } from '../ui/form_dialog.tsx';

function FileField({ label, onFile }: { label: string; onFile: (file: File | null) => void }) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input id={id} type="file" accept=".onnx" required onChange={(event) => onFile(event.currentTarget.files?.[0] ?? null)} />
    </div>
  );
}

export function UploadModel({ onDone, onClose }: { onDone: (model: ModelInfo) => void; onClose: () => void }) {
  const [kind, setKind] = useState<'detector' | 'sam'>('detector');
  const [name, setName] = useState('');
  const [files, setFiles] = useState<Record<string, File | null>>({});
  const put = (field: string) => (file: File | null): void => {
    setFiles({ ...files, [field]: file });
    if (field === 'model' && file && name === '') {
      setName(file.name.replace(/\.onnx$/, ''));
    }
  };
  return (
    <FormDialog
      title="Upload a model"
      submit="Upload and try it"
      onClose={onClose}
      work={async () => {
        const wanted = kind === 'sam' ? ['encoder', 'decoder'] : ['model'];
        const chosen = wanted.flatMap((field) => (files[field] ? [[field, files[field]] as const] : []));
        onDone(await addModel(name.trim(), Object.fromEntries(chosen)));
      }}
    >
      <SelectField
        label="Kind"
        value={kind}
        options={[
          ['detector', 'finds objects: one file'],
          ['sam', 'Segment Anything: encoder and decoder'],
        ]}
        onChange={setKind}
      />
      {kind === 'detector' ? (
        <FileField key="model" label="ONNX file" onFile={put('model')} />
      ) : (
        <>
          <FileField key="encoder" label="Encoder (ONNX)" onFile={put('encoder')} />
          <FileField key="decoder" label="Decoder (ONNX)" onFile={put('decoder')} />
        </>
      )}
      <TextField
        label="Name"
        value={name}
        onInput={setName}
        required
        maxLength={64}
        help="One that is there gets a new version, which serves from then on. What can’t be used changes nothing."
      />
    </FormDialog>
  );
}
