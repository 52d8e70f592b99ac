// An S3 server for test_objects.c: the npm package s3rver, and in front of it what that lacks, a
// strict check of Signature Version 4 (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
// Usage: node tests/unit/s3_server.mjs FOLDER BUCKET; prints "listening PORT".

import { createHash, createHmac } from 'node:crypto';
import { createServer, request as forward } from 'node:http';
import { createRequire } from 'node:module';

const S3rver = createRequire(new URL('../e2e/package.json', import.meta.url))('s3rver');
const KEYS = { S3RVER: 'S3RVER' };

const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const hmac = (key, text) => createHmac('sha256', key).update(text).digest();

/** What is wrong with a request's signature; undefined: nothing. */
function flaw({ method, url, headers }, body) {
  const parts =
    /^AWS4-HMAC-SHA256 Credential=(\w+)\/(\d{8})\/([\w-]+)\/s3\/aws4_request, ?SignedHeaders=([\w;-]+), ?Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    );
  if (parts === null) {
    return 'AccessDenied';
  }
  const [, id, day, region, signed, signature] = parts;
  const time = headers['x-amz-date'] ?? '';
  const names = signed.split(';');
  const wanted = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  if (!time.startsWith(day) || wanted.some((name) => !names.includes(name))) {
    return 'AccessDenied';
  }
  if (headers['x-amz-content-sha256'] !== sha256(body)) {
    return 'XAmzContentSHA256Mismatch';
  }
  const [path, query = ''] = url.split('?');
  const canonical = [
    method,
    path,
    query.split('&').sort().join('&'),
    ...names.map((name) => `${name}:${headers[name].trim()}`),
    '',
    signed,
    headers['x-amz-content-sha256'],
  ].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  let key = `AWS4${KEYS[id]}`;
  for (const step of [day, region, 's3', 'aws4_request']) {
    key = hmac(key, step);
  }
  const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`;
  return hmac(key, text).toString('hex') === signature ? undefined : 'SignatureDoesNotMatch';
}

const [directory, bucket] = process.argv.slice(2);
const store = new S3rver({
  directory,
  port: 0,
  address: '127.0.0.1',
  silent: true,
  vhostBuckets: false,
  configureBuckets: [{ name: bucket }],
});
const { port } = await store.run();

const front = createServer(async (incoming, outgoing) => {
  const chunks = [];
  for await (const chunk of incoming) {
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const code = flaw(incoming, body);
  if (code !== undefined) {
    outgoing.writeHead(403, { 'Content-Type': 'application/xml' });
    outgoing.end(incoming.method === 'HEAD' ? '' : `<Error><Code>${code}</Code></Error>`);
    return;
  }
  const { method, url, headers } = incoming;
  const behind = forward({ port, host: '127.0.0.1', method, path: url, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.pipe(outgoing);
  });
  behind.on('error', () => outgoing.destroy());
  behind.end(body);
});
front.listen(0, '127.0.0.1', () => console.log(`listening ${front.address().port}`));
