// Retries and timeouts: ours and the SDK's together neither lose an answer nor multiply a bill.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { OpenAI, ask, behind, collect, failure, ledger, sdk, textOf } = require('./support.js');

test('a passing failure is ours to retry', async () => {
  const answer = await sdk().chat.completions.create(ask('recovers-soon-node'));
  assert.equal(answer.choices[0].message.content, 'Here I am.');
  const attempts = await ledger.attempts(answer._request_id);
  const fates = attempts.map((attempt) => [attempt.fate, attempt.provider_status]);
  assert.deepEqual(fates, [['failed', 503], ['completed', 200]]);
  assert.equal((await ledger.request(answer._request_id)).cost_nano, attempts[1].cost_nano);
});

test('an error as the first event of a stream is retried unseen', async () => {
  const chunks = await collect(sdk().chat.completions.create(ask('recovers-within-node', { stream: true })));
  assert.equal(textOf(chunks), 'Here I am.');
  assert.equal((await behind.requests('recovers-within-node')).length, 2);
});

test('a longer failure is retried by the SDK as a request of its own', async () => {
  const client = sdk({ maxRetries: 2 });
  const answer = await client.chat.completions.create(ask('recovers-late-node'));
  assert.equal(answer.choices[0].message.content, 'Here I am.');
  const seen = (await behind.requests('recovers-late-node')).map(({ headers }) => headers);
  assert.deepEqual(seen.map((headers) => headers['x-stainless-retry-count']), ['0', '0', '1']);
  assert.equal(new Set(seen.map((headers) => headers['x-client-request-id'])).size, 3);
  const rows = await ledger.closed('recovers-late-node', 2);
  assert.deepEqual(rows.map((row) => [row.status, row.cost_nano === 0]), [['provider_error', true], ['ok', false]]);
});

test('a failure for good is retried by nobody', async () => {
  const client = sdk({ maxRetries: 2 });
  await failure(OpenAI.InternalServerError, () => client.chat.completions.create(ask('fails-for-good')));
  assert.equal((await behind.requests('fails-for-good')).length, 1);
});

test('a timeout that may be billed is repeated by nobody', async () => {
  const client = sdk({ maxRetries: 2 });
  const asked = () => client.chat.completions.create(ask('hasty/hasty-counted-node'));
  const error = await failure(OpenAI.InternalServerError, asked);
  assert.deepEqual([error.status, error.code], [504, 'provider_timeout']);
  assert.equal((await behind.requests('hasty-counted-node')).length, 1);
  const attempts = await ledger.attempts(error.requestID);
  assert.deepEqual(attempts.map((attempt) => [attempt.fate, attempt.cost_nano]), [['interrupted', null]]);
});

test("the SDK's own timeout ends the call everywhere", async () => {
  const asked = () => sdk({ timeout: 150 }).chat.completions.create(ask('stalls-timeout-node'));
  await failure(OpenAI.APIConnectionTimeoutError, asked);
  assert.equal((await behind.hungUp('stalls-timeout-node')).length, 1);
  const [row] = await ledger.closed('stalls-timeout-node');
  assert.deepEqual([row.status, row.http_status, row.cost_nano], ['client_closed', 499, null]);
});

test('a deadline in a header ends the call in time', async () => {
  const headers = { 'x-farthing-deadline': '100' };
  const asked = () => sdk().chat.completions.create(ask('stalls-deadline-node'), { headers });
  assert.equal((await failure(OpenAI.InternalServerError, asked)).code, 'provider_timeout');
});
