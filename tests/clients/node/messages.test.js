// Anthropic's SDK: whatever its row speaks, a client of Messages finds its own types, stops, counts and errors.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { z } = require('zod');
const {
  Anthropic, ROWS, behind, callsOf, checkCut, claude, collect, failure, ledger, message, refused, said, zodOutputFormat,
} = require('./support.js');

const PARAMETERS = { task_log: 'task', row_count: 'table' };
const tools = Object.entries(PARAMETERS).map(([name, key]) => ({
  name,
  input_schema: { type: 'object', properties: { [key]: { type: 'string' } } },
}));
const CALLED = [['task_log', { task: 'load_orders' }], ['row_count', { table: 'orders' }]];

const Verdict = z.object({ task: z.string(), retry: z.boolean(), after_minutes: z.number() });

for (const row of ROWS) {
  const client = claude();

  test(`${row}: a message comes back, and is booked`, async () => {
    const answer = await client.messages.create(message(`${row}-plain`, { system: 'Be brief.' }));
    assert.deepEqual([said(answer), answer.stop_reason, answer.model], ['Partition 14 is late.', 'end_turn', `${row}-plain`]);
    assert.ok(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
    assert.ok((await ledger.request(answer._request_id)).cost_nano > 0);
  });

  test(`${row}: a stream adds up by hand and by the helper`, async () => {
    const events = await collect(client.messages.create(message(`${row}-many`, { stream: true })));
    assert.deepEqual([events[0].type, events.at(-1).type], ['message_start', 'message_stop']);
    const text = events.map((event) => event.delta?.text ?? '').join('');
    const whole = await client.messages.stream(message(`${row}-many`)).finalMessage();
    assert.equal(text.trim().split(' ').length, 40);
    assert.deepEqual([said(whole), whole.stop_reason], [text, 'end_turn']);
    assert.ok(whole.usage.output_tokens >= 40);
    const awkward = await client.messages.stream(message(`${row}-awkward`)).finalMessage();
    assert.equal(said(awkward), 'before\u2028after, naïve ✓ 🦀 done');
  });

  test(`${row}: calls made at once all come back, and their loop closes`, async () => {
    const model = `${row}-loop-node`;
    const messages = [{ role: 'user', content: 'why is it late?' }];
    const first = await client.messages.stream(message(model, { tools, messages })).finalMessage();
    assert.deepEqual([callsOf(first), first.stop_reason], [CALLED, 'tool_use']);
    const calls = first.content.filter((block) => block.type === 'tool_use');
    const results = calls.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: 'no new files' }));
    messages.push({ role: 'assistant', content: first.content }, { role: 'user', content: results });
    const last = await client.messages.create(message(model, { tools, messages }));
    assert.deepEqual([said(last), last.stop_reason], ['Retry load_orders: 0 rows.', 'end_turn']);
    assert.equal(JSON.stringify((await behind.last(model)).body).split('no new files').length, 3);
    const whole = await client.messages.create(message(`${row}-tools`, { tools }));
    assert.deepEqual([callsOf(whole), whole.stop_reason], [CALLED, 'tool_use']);
  });

  test(`${row}: a schema of zod is filled`, async () => {
    const more = { output_config: { format: zodOutputFormat(Verdict) } };
    const answer = await client.messages.parse(message(`${row}-verdict`, more));
    assert.deepEqual(answer.parsed_output, { task: 'load_orders', retry: true, after_minutes: 5 });
  });

  test(`${row}: tokens are counted, models are found`, async () => {
    const counted = await client.messages.countTokens({ model: `${row}-plain`, messages: message('').messages, tools });
    assert.ok(counted.input_tokens > 10);
    assert.equal((await client.models.retrieve(`${row}-plain`)).id, `${row}-plain`);
  });

  test(`${row}: a limit and a refusal are told apart`, async () => {
    const cut = await client.messages.stream(message(`${row}-many`, { max_tokens: 20 })).finalMessage();
    const refusal = await client.messages.stream(message(`${row}-refusal`)).finalMessage();
    assert.deepEqual([cut.stop_reason, refusal.stop_reason], ['max_tokens', 'refusal']);
  });

  test(`${row}: errors of a provider are of the class that a client knows`, async () => {
    const asked = (status) => () => client.messages.create(message(`${row}-fails-${status}`));
    const overloaded = row === 'claude-opus-5' ? [503, 'api_error'] : [529, 'overloaded_error'];
    for (const [status, told, type, kind] of [
      [400, 400, 'invalid_request_error', Anthropic.BadRequestError],
      [401, 502, 'api_error'],
      [404, 404, 'not_found_error', Anthropic.NotFoundError],
      [413, 413, 'request_too_large'],
      [422, 422, 'invalid_request_error', Anthropic.UnprocessableEntityError],
      [500, 500, 'api_error'],
      [503, ...overloaded],
      [504, 504, 'timeout_error'],
      [529, 529, 'overloaded_error'],
    ]) {
      const error = await refused(told, type, asked(status));
      if (kind) assert.equal(error.constructor, kind);
      assert.equal((await ledger.request(error.requestID)).http_status, told);
    }
    const limited = await refused(429, 'rate_limit_error', asked(429));
    assert.deepEqual([limited.constructor, limited.headers.get('retry-after')], [Anthropic.RateLimitError, '7']);
  });

  for (const broken of ['fails-within', 'resets-within', 'ends-within']) {
    test(`${row}: a stream that ${broken} throws after what had arrived`, async () => {
      const arrived = [];
      await assert.rejects(async () => {
        for await (const event of await client.messages.create(message(`${row}-${broken}`, { stream: true }))) {
          arrived.push(event.type);
        }
      }, Anthropic.APIError);
      assert.ok(arrived[0] === 'message_start' && !arrived.includes('message_stop'), `${arrived}`);
      await assert.rejects(() => client.messages.stream(message(`${row}-${broken}`)).finalMessage(), Anthropic.APIError);
    });
  }

  test(`${row}: failures are retried by whom they should be`, async () => {
    const [soon, late] = [`${row}-recovers-soon-node`, `${row}-recovers-late-node`];
    const answer = await client.messages.create(message(soon));
    const statuses = (await ledger.attempts(answer._request_id)).map((attempt) => attempt.provider_status);
    assert.deepEqual([said(answer), statuses], ['Here I am.', [503, 200]]);
    assert.equal(said(await client.messages.create(message(late), { maxRetries: 2 })), 'Here I am.');
    assert.equal((await behind.requests(late)).length, 3);
    assert.equal((await ledger.closed(late, 2)).length, 2);
    const asked = () => client.messages.create(message(`${row}-fails-for-good-node`), { maxRetries: 2 });
    await failure(Anthropic.InternalServerError, asked);
    assert.equal((await behind.requests(`${row}-fails-for-good-node`)).length, 1);
  });

  test(`${row}: clients that leave are seen by the provider and settled as cut`, async () => {
    const within = await client.messages.create(message(`${row}-stalls-within-node`, { stream: true }));
    for await (const event of within) {
      assert.equal(event.type, 'message_start');
      break;
    }
    await checkCut(`${row}-stalls-within-node`);
    const left = new AbortController();
    const whole = failure(Anthropic.APIUserAbortError, () =>
      client.messages.create(message(`${row}-stalls-whole-node`), { signal: left.signal }));
    await behind.arrived(`${row}-stalls-whole-node`);
    left.abort();
    await whole;
    await checkCut(`${row}-stalls-whole-node`);
    const timeout = () => client.messages.create(message(`${row}-stalls-timeout-node`), { timeout: 150 });
    await failure(Anthropic.APIConnectionTimeoutError, timeout);
    await checkCut(`${row}-stalls-timeout-node`);
  });
}

test('a wrong key is an authentication error', async () => {
  const asked = () => claude({ apiKey: 'fk-nobody-knows' }).messages.create(message('gpt-4o-plain'));
  const error = await refused(401, 'authentication_error', asked);
  assert.equal(error.constructor, Anthropic.AuthenticationError);
});
