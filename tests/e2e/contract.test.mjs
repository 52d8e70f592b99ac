// Requests made by openapi.yaml, of every operation and by everybody: such that fit it and such that do
// not. Each answer must be one that the document promises. NEXUS_TEST_SEED repeats a run's choices, and
// NEXUS_TEST_SECONDS makes it longer.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import addFormats from 'ajv-formats';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { ask } from './lib/accounts.mjs';
import { skipWithoutFfmpeg } from './lib/cameras.mjs';
import { answerJudge, mayAsk } from './lib/contract_answers.mjs';
import { contractClient } from './lib/contract_client.mjs';
import { requestMaker } from './lib/contract_requests.mjs';
import { startContractSite } from './lib/contract_site.mjs';
import { randomFrom } from './lib/random.mjs';
import { teachEncodings } from './lib/schema_values.mjs';
import { skipWithoutShared } from './lib/server.mjs';

const SEED = Number(process.env.NEXUS_TEST_SEED ?? 1);
const SECONDS = Number(process.env.NEXUS_TEST_SECONDS ?? 0);
const ROUNDS = 5;
const MOST_FAULTS = 30;
/** What is never taken here: the site is set up, and an optimisation of so small a model is soon over. */
const REFUSED = ['setUp', 'cancelOptimization'];
const MOST_TRIES = 25;
/** What makes something for an operation to be about. */
const FIRST = {
  cancelJob: 'processVideo', retryJob: 'cancelJob', getJob: 'processVideo', getJobResult: 'processVideo',
  revokeModel: 'grantModel', rollbackModel: 'addModel', unloadModel: 'addModel', removeModel: 'addModel',
  changeStream: 'addStream', removeStream: 'addStream', getUser: 'addUser', changeUser: 'addUser', removeUser: 'addUser',
  revokeKey: 'addKey', getVideo: 'addVideo', getVideoContent: 'addVideo', removeVideo: 'addVideo',
  getUpload: 'addUpload', continueUpload: 'addUpload', removeUpload: 'addUpload', getEvent: 'listEvents',
  getEventSnapshot: 'listEvents', getEventClip: 'listEvents', listEventDeliveries: 'listEvents', removeEvent: 'listEvents',
};

describe(`requests by openapi.yaml (NEXUS_TEST_SEED=${SEED})`, { skip: skipWithoutShared() || skipWithoutFfmpeg() }, () => {
  const random = randomFrom(SEED);
  const answered = new Map(); // operationId: statuses and how often
  const faults = new Map(); // the first of each kind
  let site;
  let client;
  let maker;
  let judge;
  let asked = 0;

  before(async () => {
    site = await startContractSite(random);
    client = contractClient(site.server);
    const { value: document } = await ask(site.server, '/openapi.json');
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    addFormats(ajv);
    teachEncodings(ajv);
    ajv.addSchema(document, 'openapi');
    maker = requestMaker({ document, ajv, random, ...site });
    judge = answerJudge({ document, ajv, resolve: maker.resolve, secrets: site.secrets });
  });
  after(async () => {
    client?.close();
    await site?.stop();
  });

  /** Mostly somebody who may, or certainly; the session of who signs out would be gone. */
  function somebody(operation, certainly) {
    const people = operation.operationId === 'signOut' ? site.people.filter((who) => !who.session) : site.people;
    const allowed = people.filter((who) => mayAsk(operation, who) === true && who.role !== undefined);
    return allowed.length > 0 && (certainly || random.chance(0.75)) ? random.pick(allowed) : random.pick(people);
  }

  /** plain: as the document has it, by somebody who may. */
  async function one(operation, plain = false) {
    const request = maker.make(operation, plain || random.chance(0.45));
    const who = somebody(operation, plain);
    request.method = operation.method === 'GET' && random.chance(0.05) ? 'HEAD' : operation.method;
    const address = `198.51.100.${random.below(256)}`; // so that no address signs in wrongly too often
    const headers = { 'X-Forwarded-For': address, ...request.headers, ...who.headers };
    const sent = { method: request.method, target: request.target, headers, body: request.sent };
    const at = `${++asked} ${request.method} ${request.target.slice(0, 300)} by ${who.name}, ` +
      `${JSON.stringify(request.headers).slice(0, 400)} ${request.sent?.toString().slice(0, 400) ?? ''}`;
    let answer;
    try {
      answer = await client.send(sent);
    } catch (error) {
      faults.set(`${operation.operationId} ${error.message}`, `${at}\n  no answer: ${error.message}`);
      return;
    }
    for (const fault of judge(request, who, answer)) {
      const kind = `${operation.operationId} ${answer.status} ${fault.slice(0, 60)}`;
      if (!faults.has(kind)) {
        faults.set(kind, `${at}\n  ${answer.status}: ${fault}\n  ${answer.body.toString().slice(0, 400)}`);
      }
    }
    const statuses = answered.get(operation.operationId) ?? answered.set(operation.operationId, {}).get(operation.operationId);
    statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
    site.learn(request, answer);
  }

  it('are answered as it promises', async () => {
    const end = Date.now() + SECONDS * 1000;
    for (let round = 0; (SECONDS > 0 ? Date.now() < end : round < ROUNDS) && faults.size < MOST_FAULTS; round++) {
      for (const operation of maker.operations) {
        await one(operation);
      }
    }
    if (process.env.NEXUS_TEST_SECONDS !== undefined) {
      console.log(`${asked} requests`, Object.fromEntries(answered));
    }
    assert.equal(faults.size, 0, `\n${[...faults.values()].join('\n\n')}`);
  });

  it('are all taken once at least', async () => {
    const byId = Object.fromEntries(maker.operations.map((operation) => [operation.operationId, operation]));
    const taken = (id) => Object.keys(answered.get(id) ?? {}).some((status) => status < 400);
    const wanted = Object.keys(byId).filter((id) => !REFUSED.includes(id));
    for (const id of wanted) {
      for (let tries = 0; tries < MOST_TRIES && !taken(id); tries++) {
        for (const before of [FIRST[FIRST[id]], FIRST[id], id].filter((name) => name !== undefined)) {
          await one(byId[before], true);
        }
      }
    }
    assert.deepEqual(wanted.filter((id) => !taken(id)), []);
    assert.equal(faults.size, 0, `\n${[...faults.values()].join('\n\n')}`);
  });

  it('leave a server that serves, and ends as it should', async () => {
    const { status } = (await ask(site.server, '/health/ready', { headers: site.admin.headers })).value;
    assert.equal(status, 'ready');
    const logs = site.server.logs();
    for (const secret of site.secrets()) {
      assert.ok(!logs.includes(secret), `the log has ${secret}`);
    }
    assert.equal(await site.server.stop(), 0);
    assert.doesNotMatch(logs, /"level":"error"/);
  });
});
