// OpenAI's SDK at a row that is called in Messages: its own types, stops, counts and errors all the same.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { z } = require('zod');
const { OpenAI, ask, behind, checkCut, collect, failure, ledger, sdk, textOf, zodResponseFormat } = require('./support.js');

const ROW = 'claude-opus-5';
const PARAMETERS = { task_log: 'task', row_count: 'table' };
const tools = Object.entries(PARAMETERS).map(([name, key]) => ({
  type: 'function',
  function: { name, parameters: { type: 'object', properties: { [key]: { type: 'string' } } } },
}));
const CALLED = [['task_log', { task: 'load_orders' }], ['row_count', { table: 'orders' }]];

const Verdict = z.object({ task: z.string(), retry: z.boolean(), after_minutes: z.number() });
const called = (calls) => calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);

test('a completion comes back, and is booked', async () => {
  const answer = await sdk().chat.completions.create(ask(`${ROW}-plain`));
  const [choice] = answer.choices;
  assert.deepEqual([choice.message.content, choice.finish_reason], ['Partition 14 is late.', 'stop']);
  assert.ok(answer.usage.prompt_tokens > 0 && (await ledger.request(answer._request_id)).cost_nano > 0);
});

test('a stream adds up by hand and by the helper', async () => {
  const more = { stream: true, stream_options: { include_usage: true } };
  const chunks = await collect(sdk().chat.completions.create(ask(`${ROW}-many`, more)));
  assert.equal(textOf(chunks).trim().split(' ').length, 40);
  assert.ok(chunks.at(-1).usage.completion_tokens >= 40);
  assert.equal(await sdk().chat.completions.stream(ask(`${ROW}-awkward`)).finalContent(), 'before\u2028after, naïve ✓ 🦀 done');
});

test('the helper for tools closes its loop', async () => {
  const [model, seen] = [`${ROW}-loop-of-chat-node`, []];
  const runnable = tools.map((tool) => ({
    ...tool,
    function: {
      ...tool.function,
      parse: JSON.parse,
      function: (given) => {
        seen.push([tool.function.name, given]);
        return 'no new files';
      },
    },
  }));
  const runner = sdk().chat.completions.runTools(ask(model, { tools: runnable, stream: true }));
  assert.equal(await runner.finalContent(), 'Retry load_orders: 0 rows.');
  assert.deepEqual(seen, CALLED);
  const turns = (await behind.last(model)).body.messages;
  assert.deepEqual(turns.map((turn) => turn.role), ['user', 'assistant', 'user']);
  const whole = await sdk().chat.completions.create(ask(`${ROW}-tools`, { tools }));
  assert.deepEqual(called(whole.choices[0].message.tool_calls), CALLED);
});

test('a schema of zod is filled', async () => {
  const asked = ask(`${ROW}-verdict`, { response_format: zodResponseFormat(Verdict, 'verdict') });
  const wanted = { task: 'load_orders', retry: true, after_minutes: 5 };
  assert.deepEqual((await sdk().chat.completions.parse(asked)).choices[0].message.parsed, wanted);
});

test('errors of a provider are of the class that a client knows', async () => {
  for (const [status, told, kind] of [
    [400, 400, OpenAI.BadRequestError],
    [401, 502, OpenAI.InternalServerError],
    [404, 404, OpenAI.NotFoundError],
    [422, 422, OpenAI.UnprocessableEntityError],
    [500, 500, OpenAI.InternalServerError],
    [529, 503, OpenAI.InternalServerError],
  ]) {
    const error = await failure(kind, () => sdk().chat.completions.create(ask(`${ROW}-fails-${status}`)));
    assert.equal(error.status, told);
  }
  const limited = await failure(OpenAI.RateLimitError, () => sdk().chat.completions.create(ask(`${ROW}-fails-429`)));
  assert.deepEqual([limited.code, limited.headers.get('retry-after')], ['rate_limit_exceeded', '7']);
});

for (const broken of ['fails-within', 'resets-within', 'ends-within']) {
  test(`a stream that ${broken} throws after what had arrived`, async () => {
    const chunks = [];
    await failure(OpenAI.APIError, async () => {
      for await (const chunk of await sdk().chat.completions.create(ask(`${ROW}-${broken}`, { stream: true }))) chunks.push(chunk);
    });
    assert.ok(chunks.length > 0 && chunks.every((chunk) => chunk.choices.every((choice) => !choice.finish_reason)));
  });
}

test('a longer failure is retried by the SDK as a request of its own', async () => {
  const model = `${ROW}-recovers-late-of-chat-node`;
  const answer = await sdk({ maxRetries: 2 }).chat.completions.create(ask(model));
  assert.equal(answer.choices[0].message.content, 'Here I am.');
  assert.equal((await behind.requests(model)).length, 3);
});

test('a client that leaves is seen by the provider and settled as cut', async () => {
  const stream = await sdk().chat.completions.create(ask(`${ROW}-stalls-within-of-chat-node`, { stream: true }));
  for await (const chunk of stream) {
    assert.equal(chunk.choices[0].delta.role, 'assistant');
    break;
  }
  await checkCut(`${ROW}-stalls-within-of-chat-node`);
});
