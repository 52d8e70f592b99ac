// The newest picture of a stream, for an <img>.

import { useEffect, useState } from 'preact/hooks';
import { ApiError } from '../api/http.ts';
import { getPicture } from '../api/streams.ts';

/**
 * Asks for the picture now and, when everyMs is above 0, again and again while `asked`; what was there
 * last stays. round: another number asks again.
 */
export function usePicture(id: string, asked: boolean, everyMs: number, round = 0): string | null {
  const [address, setAddress] = useState<string | null>(null);
  useEffect(() => setAddress(null), [id]);
  useEffect(() => () => {
    if (address) {
      URL.revokeObjectURL(address);
    }
  }, [address]);
  useEffect(() => {
    if (!asked) {
      return undefined;
    }
    const stop = new AbortController();
    let timer = 0;
    const ask = async (): Promise<void> => {
      try {
        const picture = await getPicture(id, stop.signal);
        if (!stop.signal.aborted) {
          setAddress(URL.createObjectURL(picture));
        }
      } catch (error) {
        if (!stop.signal.aborted && !(error instanceof ApiError)) {
          throw error; // and what the server refuses leaves the old one
        }
      }
      if (!stop.signal.aborted && everyMs > 0) {
        timer = window.setTimeout(() => void ask(), everyMs);
      }
    };
    void ask();
    return () => {
      stop.abort();
      window.clearTimeout(timer);
    };
  }, [id, asked, everyMs, round]);
  return address;
}
