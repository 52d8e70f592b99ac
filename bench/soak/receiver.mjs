// Who is told by webhooks: verifies each signature, and knows each delivery by its id.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

export const SECRET = 'whsec_soak';
const FRESH_S = 300;

/** Why a post is none that a receiver would take, or nothing. */
function whyWrong({ headers, body, message }) {
  const [, time, hex] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers['x-nexus-signature'] ?? '') ?? [];
  if (hex === undefined) return 'a webhook without a signature';
  const expected = createHmac('sha256', SECRET).update(`${time}.`).update(body).digest();
  if (!timingSafeEqual(expected, Buffer.from(hex, 'hex'))) return 'a webhook with a wrong signature';
  if (Math.abs(Number(time) - Date.now() / 1000) > FRESH_S) return `a webhook signed at ${time}`;
  if (headers['x-nexus-delivery'] !== message.delivery_id) return 'a webhook with two delivery ids';
  return undefined;
}

/** What a delivery tells; every attempt must tell the same. */
const told = ({ event, job, stream_event: seen }) => (job ? `${event} ${job.id} ${job.state}` : `${event} ${seen.id}`);

/**
 * { url, deliveries: id to { what, job, event, posts }, refuse(whether), close() }. broken(sentence) is called for
 * what must not be.
 */
export async function startReceiver(broken) {
  const deliveries = new Map();
  let refusing = false;

  function take(headers, body) {
    const message = JSON.parse(body.toString());
    const why = whyWrong({ headers, body, message });
    if (why) return broken(why);
    const what = told(message);
    const known = deliveries.get(message.delivery_id);
    if (known === undefined) {
      deliveries.set(message.delivery_id, { what, job: message.job?.id, event: message.stream_event?.id, posts: 1 });
    } else {
      known.posts++;
      if (known.what !== what) broken(`delivery ${message.delivery_id} told of ${known.what}, then of ${what}`);
    }
  }
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk)).on('error', () => {});
    request.on('end', () => {
      if (refusing) {
        response.writeHead(500).end();
        return;
      }
      try {
        take(request.headers, Buffer.concat(chunks));
      } catch (error) {
        broken(`a webhook that can't be read: ${error.message}`);
      }
      response.writeHead(200).end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    deliveries,
    refuse: (whether) => (refusing = whether),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
