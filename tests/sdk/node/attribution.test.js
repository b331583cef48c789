// Attribution, models and the environment: what a client says of itself, and what it may ask for.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { BASE_URL, KEY, NARROW_KEY, OpenAI, ask, behind, collect, failure, ledger, sdk } = require('./support.js');

const METADATA = {
  team: 'search', project: 'orders', pipeline: 'orders_daily', user: 'ann',
  run: 'run-7', task: 'log-parsing', prompt: 'triage.v2',
};

async function claims(id) {
  const row = await ledger.request(id);
  return Object.fromEntries(Object.keys(METADATA).map((name) => [name, row[name]]));
}

test('metadata names who pays and reaches the provider unchanged', async () => {
  const answer = await sdk().chat.completions.create(ask('seen-node', { metadata: METADATA, store: true }));
  assert.deepEqual(await claims(answer._request_id), METADATA);
  assert.deepEqual((await behind.last('seen-node')).body.metadata, METADATA);
});

test('headers beat metadata, of the call before those of the client', async () => {
  const client = sdk({ defaultHeaders: { 'x-farthing-pipeline': 'orders_hourly', 'x-farthing-run': 'run-of-client' } });
  const headers = { 'x-farthing-run': 'run-of-call' };
  const answer = await client.chat.completions.create(ask('chat-plain', { metadata: METADATA }), { headers });
  const said = { pipeline: 'orders_hourly', run: 'run-of-call' };
  assert.deepEqual(await claims(answer._request_id), { ...METADATA, ...said });
});

test('a claim beyond the grants is ignored and named', async () => {
  const metadata = { team: 'finance', project: 'payroll', run: 'run-8' };
  const asked = sdk().chat.completions.create(ask('chat-plain', { metadata })).withResponse();
  const { response, request_id: id } = await asked;
  const row = await claims(id);
  assert.deepEqual([row.team, row.project, row.run], ['data', null, 'run-8']);
  assert.match(response.headers.get('x-farthing-reason'), /not granted: project, team/);
});

test('the list holds auto, tiers and models once each, and each is found by itself', async () => {
  const listed = await collect(sdk().models.list());
  const names = new Set(listed.map((model) => model.id));
  assert.equal(names.size, listed.length);
  for (const name of ['auto', 'frontier', 'reasoning', 'lightweight', 'chat-plain', 'lab/chat-slash']) {
    assert.ok(names.has(name), name);
    const found = await sdk().models.retrieve(name);
    assert.deepEqual([found.id, found.object], [name, 'model']);
  }
});

test('an unknown model is not found, and a key sees what it may ask for', async () => {
  const error = await failure(OpenAI.NotFoundError, () => sdk().models.retrieve('nobody/chat-plain'));
  assert.deepEqual([error.code, error.param], ['model_not_found', 'model']);
  const client = sdk({ apiKey: NARROW_KEY });
  const names = (await collect(client.models.list())).map((model) => model.id);
  const named = names.filter((name) => !['auto', 'frontier', 'reasoning', 'lightweight'].includes(name));
  assert.ok(named.length > 0 && named.every((name) => name.startsWith('chat-')), named.join());
  await failure(OpenAI.NotFoundError, () => client.models.retrieve('json-verdict'));
});

test('two variables are enough for a client', async () => {
  Object.assign(process.env, { OPENAI_BASE_URL: BASE_URL, OPENAI_API_KEY: KEY });
  const answer = await new OpenAI().chat.completions.create(ask('frontier'));
  assert.equal(answer.choices[0].message.content, 'Rerun the load.');
  assert.equal((await ledger.request(answer._request_id)).key, 'agents');
});
