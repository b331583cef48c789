// Errors: each arrives as the SDK's own class, with the provider's words or our stable code.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { NARROW_KEY, OPEN_BASE_URL, OpenAI, ask, behind, collect, failure, ledger, sdk, textOf, unusedPort } =
  require('./support.js');

/** The error of that class which asking for `model` throws, whole and streamed alike. */
async function refused(kind, model, { client = sdk(), ...more } = {}) {
  await failure(kind, () => client.chat.completions.create(ask(model, { stream: true, ...more })));
  return failure(kind, () => client.chat.completions.create(ask(model, more)));
}

for (const [status, kind] of [
  [404, OpenAI.NotFoundError],
  [409, OpenAI.ConflictError],
  [422, OpenAI.UnprocessableEntityError],
  [500, OpenAI.InternalServerError],
]) {
  test(`a provider's ${status} keeps its class and words`, async () => {
    const error = await refused(kind, `fails-${status}`);
    assert.equal(error.status, status);
    assert.match(error.message, new RegExp(`told to answer with ${status}`));
    const row = await ledger.request(error.requestID);
    assert.deepEqual([row.http_status, row.cost_nano], [status, 0]);
  });
}

test('a bad request keeps the parameter that was wrong', async () => {
  const error = await refused(OpenAI.BadRequestError, 'fails-400');
  assert.deepEqual([error.code, error.param, error.type], ['invalid_value', 'reasoning_effort', 'invalid_request_error']);
  assert.match(error.message, /Invalid value: 'loud'\./);
});

for (const status of [401, 403]) {
  test(`a provider that refuses our credential with ${status} is not the caller's fault`, async () => {
    const error = await refused(OpenAI.InternalServerError, `fails-${status}`);
    assert.deepEqual([error.status, error.code], [502, 'provider_credentials']);
    assert.doesNotMatch(error.message, /told to answer/);
  });
}

test('a rate limit says when to come back', async () => {
  const error = await refused(OpenAI.RateLimitError, 'fails-429');
  assert.deepEqual([error.code, error.headers.get('retry-after')], ['rate_limit_exceeded', '7']);
});

test('an exhausted account is told apart and asked once', async () => {
  const error = await failure(OpenAI.RateLimitError, () => sdk().chat.completions.create(ask('fails-quota-node')));
  assert.deepEqual([error.code, error.type], ['insufficient_quota', 'insufficient_quota']);
  assert.equal((await behind.requests('fails-quota-node')).length, 1);
});

test('a page of a load balancer is wrapped and not quoted', async () => {
  const error = await refused(OpenAI.InternalServerError, 'fails-page');
  assert.deepEqual([error.status, error.code], [503, 'provider_error']);
  assert.doesNotMatch(`${error} ${JSON.stringify(error.error)}`, /10\.1\.2\.3|<html>/);
});

test('an unreachable provider is an error of the server', async () => {
  const error = await refused(OpenAI.InternalServerError, 'gone/gone-light');
  assert.deepEqual([error.status, error.code], [502, 'provider_error']);
  const attempts = await ledger.attempts(error.requestID);
  assert.deepEqual(attempts.map((attempt) => [attempt.fate, attempt.cost_nano]), Array(2).fill(['failed', 0]));
});

test('an unreachable gateway is a connection error', async () => {
  const client = sdk({ baseURL: `http://127.0.0.1:${await unusedPort()}/v1` });
  await failure(OpenAI.APIConnectionError, () => client.chat.completions.create(ask('chat-plain')));
});

test('a wrong key is an authentication error, and nothing is called', async () => {
  const seen = (await behind.requests('chat-plain')).length;
  const client = sdk({ apiKey: 'fk-nobody-knows' });
  const error = await refused(OpenAI.AuthenticationError, 'chat-plain', { client });
  assert.deepEqual([error.status, error.code], [401, 'invalid_api_key']);
  assert.doesNotMatch(error.message, /fk-nobody-knows/);
  await failure(OpenAI.AuthenticationError, () => collect(client.models.list()));
  assert.equal((await behind.requests('chat-plain')).length, seen);
});

test('what a key may not ask for is a permission error', async () => {
  const client = sdk({ apiKey: NARROW_KEY });
  const error = await refused(OpenAI.PermissionDeniedError, 'json-verdict', { client });
  assert.deepEqual([error.status, error.code, error.param], [403, 'not_granted', 'model']);
});

test('a body that is wrong names what is wrong', async () => {
  const badModel = await refused(OpenAI.BadRequestError, 7);
  assert.deepEqual([badModel.code, badModel.param], ['invalid_body', 'model']);
  const badMessages = await refused(OpenAI.BadRequestError, 'chat-plain', { messages: 'hi' });
  assert.deepEqual([badMessages.code, badMessages.param], ['invalid_body', 'messages']);
});

test('a path that is not served is not found', async () => {
  const error = await failure(OpenAI.NotFoundError, () => sdk().post('/no/such/path', { body: {} }));
  assert.equal(error.code, 'not_found');
});

test('without keys any credential will do', async () => {
  const client = sdk({ baseURL: OPEN_BASE_URL, apiKey: 'anything' });
  const answer = await client.chat.completions.create(ask('chat-plain'));
  assert.equal(answer.choices[0].message.content, 'Partition 14 is late.');
});

for (const [model, code] of [
  ['fails-within', null],
  ['resets-within', 'provider_error'],
  ['ends-within', 'provider_error'],
  ['hasty/hasty-falls-silent', 'provider_timeout'],
]) {
  test(`a stream that breaks throws after what had arrived: ${model}`, async () => {
    const [arrived, user] = [[], `${model} node`];
    const error = await failure(OpenAI.APIError, async () => {
      for await (const chunk of await sdk().chat.completions.create(ask(model, { stream: true, user }))) {
        arrived.push(chunk);
      }
    });
    assert.deepEqual([error.code ?? null, error.type], [code, 'server_error']);
    assert.equal(textOf(arrived), 'The first');
    const [row] = await ledger.ofUser(user);
    assert.deepEqual([row.status, row.cost_nano], [code ?? 'provider_error', null]);
    const attempts = await ledger.attempts(row.request_id);
    assert.deepEqual(attempts.map((attempt) => attempt.fate), ['interrupted']);
  });
}

test('the stream helper throws too', async () => {
  for (const model of ['fails-within', 'resets-within']) {
    await assert.rejects(() => sdk().chat.completions.stream(ask(model)).finalContent(), OpenAI.APIError);
  }
});
