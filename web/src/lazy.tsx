// Pages that are loaded when they are first looked at.

import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Loading, Page } from './ui/page.tsx';

export function Lazy<T>(props: { load: () => Promise<T>; children: (module: T) => ComponentChildren }) {
  const [module, setModule] = useState<T | null>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let here = true;
    props.load().then(
      (value) => here && setModule(value),
      () => here && setFailed(true),
    );
    return () => {
      here = false;
    };
  }, []);
  if (module) {
    return <>{props.children(module)}</>;
  }
  if (!failed) {
    return <Loading />;
  }
  return (
    <Page title="Not loaded">
      <div class="problem" role="alert">
        <p>This part of the page could not be loaded: the server did not answer, or has another version by now.</p>
        <button class="button" type="button" onClick={() => location.reload()}>
          Reload the page
        </button>
      </div>
    </Page>
  );
}
