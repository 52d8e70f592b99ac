// One request to a host of the site, and what came of it; it never throws.

const PATIENCE_MS = 60_000;

/** { status, body: Buffer, value() } or { error }. */
export async function askHost(world, host, path, init = {}) {
  try {
    const answer = await fetch(`${host.url}${path}`, {
      ...init,
      headers: { ...world.headers, ...init.headers },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const body = Buffer.from(await answer.arrayBuffer());
    return { status: answer.status, body, value: () => JSON.parse(body.toString()) };
  } catch (error) {
    return { error: error.cause?.code ?? error.name };
  }
}

export const jsonOf = (method, value, headers = {}) =>
  ({ method, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(value) });
