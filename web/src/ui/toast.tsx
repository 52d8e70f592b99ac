// A word at the bottom of the page when something was done; read aloud too, and gone by itself.

import { useEffect } from 'preact/hooks';
import { observable, useObserved } from '../observable.ts';

const shownMs = 6000;
const words = observable('');

export function notify(text: string): void {
  words.set('');
  words.set(text);
}

export function Toast() {
  const text = useObserved(words);
  useEffect(() => {
    if (text) {
      const timer = window.setTimeout(() => words.set(''), shownMs);
      return () => window.clearTimeout(timer);
    }
    return undefined;
  }, [text]);
  return (
    <div class="toast" role="status" data-shown={text !== ''}>
      {text}
    </div>
  );
}
