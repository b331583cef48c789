// Tools and structured output: calls come back whole, a loop closes, schemas of zod are filled.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { z } = require('zod');
const { ask, behind, collect, failure, ledger, sdk, zodResponseFormat } = require('./support.js');

const { LengthFinishReasonError } = require(`${process.env.FARTHING_SDK}/error`);

const PARAMETERS = { task_log: 'task', row_count: 'table' };
const TOOLS = Object.entries(PARAMETERS).map(([name, key]) => ({
  type: 'function',
  function: { name, parameters: { type: 'object', properties: { [key]: { type: 'string' } } } },
}));
const CALLED = [['task_log', { task: 'load_orders' }], ['row_count', { table: 'orders' }]];

const Verdict = z.object({ task: z.string(), retry: z.boolean(), after_minutes: z.number() });
const VERDICT = { task: 'load_orders', retry: true, after_minutes: 5 };

const called = (calls) => calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);

test('calls made at once all come back', async () => {
  const more = { tools: TOOLS, tool_choice: 'auto', parallel_tool_calls: true };
  const answer = await sdk().chat.completions.create(ask('tools-parallel', more));
  const calls = answer.choices[0].message.tool_calls;
  assert.equal(answer.choices[0].finish_reason, 'tool_calls');
  assert.deepEqual(called(calls), CALLED);
  assert.equal(new Set(calls.map((call) => call.id)).size, 2);
  const { tools, tool_choice, parallel_tool_calls } = (await behind.last('tools-parallel')).body;
  assert.deepEqual({ tools, tool_choice, parallel_tool_calls }, more);
});

test('streamed calls add up, by hand and by the helper', async () => {
  const calls = [];
  for (const chunk of await collect(sdk().chat.completions.create(ask('tools-parallel', { tools: TOOLS, stream: true })))) {
    for (const { index, function: part } of chunk.choices.flatMap((choice) => choice.delta.tool_calls ?? [])) {
      calls[index] ??= { function: { name: '', arguments: '' } };
      calls[index].function.name += part.name ?? '';
      calls[index].function.arguments += part.arguments ?? '';
    }
  }
  assert.deepEqual(called(calls), CALLED);
  const stream = sdk().chat.completions.stream(ask('tools-parallel', { tools: TOOLS }));
  const done = [];
  stream.on('tool_calls.function.arguments.done', (event) => done.push([event.name, JSON.parse(event.arguments)]));
  const { message } = (await stream.finalChatCompletion()).choices[0];
  assert.deepEqual(called(message.tool_calls), CALLED);
  assert.deepEqual(done, CALLED);
});

for (const stream of [false, true]) {
  test(`the helper for tools closes its loop, ${stream ? 'streamed' : 'whole'}`, async () => {
    const [model, run, seen] = [stream ? 'tools-loop-sync' : 'tools-loop-node', `loop ${stream}`, []];
    const tools = TOOLS.map((tool) => ({
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
    const runner = sdk().chat.completions.runTools(ask(model, { tools, stream, metadata: { run } }));
    assert.equal(await runner.finalContent(), 'Retry load_orders: 0 rows.');
    assert.deepEqual(seen, CALLED);
    const sent = (await behind.last(model)).body.messages;
    assert.deepEqual(sent.map((turn) => turn.role), ['user', 'assistant', 'tool', 'tool']);
    assert.deepEqual(sent[1].tool_calls.map((call) => call.id), sent.slice(2).map((turn) => turn.tool_call_id));
    const rows = await ledger.closed(model, 2);
    assert.deepEqual(rows.map((row) => [row.run, row.status]), Array(2).fill([run, 'ok']));
  });
}

test('a schema of zod is filled, whole and streamed', async () => {
  const asked = () => ask('json-verdict', { response_format: zodResponseFormat(Verdict, 'verdict') });
  const answer = await sdk().chat.completions.parse(asked());
  assert.deepEqual(answer.choices[0].message.parsed, VERDICT);
  const { type, json_schema: schema } = (await behind.last('json-verdict')).body.response_format;
  assert.deepEqual([type, schema.name, schema.strict], ['json_schema', 'verdict', true]);
  const streamed = await sdk().chat.completions.stream(asked()).finalChatCompletion();
  assert.deepEqual(streamed.choices[0].message.parsed, VERDICT);
});

test('output that is cut at its limit is told from output that is wrong and from a refusal', async () => {
  const response_format = zodResponseFormat(Verdict, 'verdict');
  const parse = (model, more) => sdk().chat.completions.parse(ask(model, { response_format, ...more }));
  await failure(LengthFinishReasonError, () => parse('json-verdict', { max_completion_tokens: 3 }));
  const ofThree = `select * from attempts_v1 where model = 'json-verdict' and output_tokens = 3 and fate = 'completed'`;
  await ledger.until(ofThree, []);
  await assert.rejects(() => parse('json-wrong'));
  const { message } = (await parse('chat-refusal')).choices[0];
  assert.deepEqual([message.parsed, message.refusal], [null, 'I cannot help with that.']);
});
