// Chat completions: what the SDK asks arrives, what comes back parses, whole and streamed.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { ask, behind, collect, ledger, sdk, textOf } = require('./support.js');

const AWKWARD_TEXT = 'before\u2028after, naïve ✓ 🦀 done';

test('an answer parses and carries its request id', async () => {
  const answer = await sdk().chat.completions.create(ask('chat-plain'));
  assert.equal(answer.choices[0].message.content, 'Partition 14 is late.');
  assert.equal(answer.choices[0].finish_reason, 'stop');
  const { prompt_tokens: read, completion_tokens: written, total_tokens: both } = answer.usage;
  assert.ok(both > 0 && both === read + written);
  assert.equal((await ledger.request(answer._request_id)).status, 'ok');
});

test('a tier is answered by its model, and a model can be named with its provider', async () => {
  const names = [['frontier', 'chat-frontier'], ['reasoning', 'lab/chat-slash'], ['sim/chat-plain', 'chat-plain']];
  for (const [asked, answered] of names) {
    assert.equal((await sdk().chat.completions.create(ask(asked))).model, answered);
  }
});

test('the response beside the data says what was decided and what it cost', async () => {
  const { data, response, request_id: id } = await sdk().chat.completions.create(ask('chat-plain')).withResponse();
  assert.equal(data._request_id, id);
  assert.equal(response.headers.get('x-request-id'), id);
  assert.equal(response.headers.get('x-farthing-model'), 'sim/chat-plain');
  assert.ok(response.headers.get('x-farthing-reason'));
  assert.equal(response.headers.get('x-farthing-edits'), null);
  const { cost_nano: nano } = await ledger.request(id);
  assert.equal(nano, data.usage.prompt_tokens * 1_000 + data.usage.completion_tokens * 3_000);
  assert.equal(Math.round(Number(response.headers.get('x-farthing-cost-usd')) * 1e9), nano);
});

test('a stream is iterated', async () => {
  const chunks = await collect(sdk().chat.completions.create(ask('chat-plain', { stream: true })));
  assert.equal(textOf(chunks), 'Partition 14 is late.');
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
});

test('a stream has its headers before its first chunk', async () => {
  const streamed = sdk().chat.completions.create(ask('chat-plain', { stream: true })).withResponse();
  const { data, response, request_id: id } = await streamed;
  assert.equal(response.headers.get('x-farthing-model'), 'sim/chat-plain');
  assert.equal(response.headers.get('x-farthing-edits'), 'usage');
  assert.equal(textOf(await collect(data)), 'Partition 14 is late.');
  const [attempt] = await ledger.attempts(id);
  assert.deepEqual([attempt.fate, attempt.source], ['completed', 'reported']);
});

test('usage is seen only by who asked for it', async () => {
  const plain = await collect(sdk().chat.completions.create(ask('chat-plain', { stream: true })));
  assert.ok(plain.every((chunk) => !chunk.usage && chunk.choices.length > 0));
  const asked = ask('chat-plain', { stream: true, stream_options: { include_usage: true } });
  const { data, request_id: id } = await sdk().chat.completions.create(asked).withResponse();
  const { usage, choices } = (await collect(data)).at(-1);
  assert.deepEqual(choices, []);
  const [attempt] = await ledger.attempts(id);
  assert.deepEqual([attempt.input_tokens, attempt.output_tokens], [usage.prompt_tokens, usage.completion_tokens]);
});

test('a stream can be split in two and turned into a web stream', async () => {
  const [left, right] = (await sdk().chat.completions.create(ask('chat-plain', { stream: true }))).tee();
  assert.deepEqual((await Promise.all([collect(left), collect(right)])).map(textOf), Array(2).fill('Partition 14 is late.'));
  const stream = await sdk().chat.completions.create(ask('chat-plain', { stream: true }));
  const lines = await new Response(stream.toReadableStream()).text();
  const chunks = lines.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(textOf(chunks), 'Partition 14 is late.');
});

test('the raw response of a stream states the cost just before its end', async () => {
  const response = await sdk().chat.completions.create(ask('chat-plain', { stream: true })).asResponse();
  const said = (await response.text()).split('\n').filter((line) => line);
  assert.equal(said.at(-1), 'data: [DONE]');
  assert.ok(said.at(-2).startsWith(': x-farthing-cost-usd: '), said.at(-2));
  const { cost_nano: nano } = await ledger.request(response.headers.get('x-request-id'));
  assert.equal(Math.round(Number(said.at(-2).split(' ').at(-1)) * 1e9), nano);
});

test('the stream helper tells events and adds them up', async () => {
  const stream = sdk().chat.completions.stream(ask('chat-plain'));
  const deltas = [];
  stream.on('content', (delta) => deltas.push(delta));
  assert.equal((await stream.finalChatCompletion()).choices[0].finish_reason, 'stop');
  assert.equal(await stream.finalContent(), 'Partition 14 is late.');
  assert.equal(deltas.join(''), 'Partition 14 is late.');
});

test('characters that end lines elsewhere stay within theirs', async () => {
  const whole = await sdk().chat.completions.create(ask('chat-awkward'));
  assert.equal(whole.choices[0].message.content, AWKWARD_TEXT);
  const chunks = await collect(sdk().chat.completions.create(ask('chat-awkward', { stream: true })));
  assert.equal(textOf(chunks), AWKWARD_TEXT);
});

test('several choices are kept apart', async () => {
  const whole = await sdk().chat.completions.create(ask('chat-choices', { n: 2 }));
  assert.deepEqual(whole.choices.map((choice) => choice.message.content), ['Rerun it.', 'Wait for it.']);
  const stream = sdk().chat.completions.stream(ask('chat-choices', { n: 2 }));
  const added = (await stream.finalChatCompletion()).choices;
  assert.deepEqual(added.map((choice) => choice.message.content), ['Rerun it.', 'Wait for it.']);
});

test('images and fields that nobody knows reach the provider as they were', async () => {
  const content = [
    { type: 'text', text: 'What does the lineage graph show?' },
    { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=', detail: 'low' } },
  ];
  const more = { reasoning_budget: { tokens: 12, spill: null }, x: [1, 2.5, '\u2028'], temperature: 0.2 };
  const body = { model: 'seen-node', messages: [{ role: 'user', content }], ...more };
  await sdk().chat.completions.create(body);
  assert.deepEqual((await behind.last('seen-node')).body, body);
});

test('only headers that may pass reach the provider', async () => {
  const client = sdk({ organization: 'org-ours', project: 'proj-ours', defaultHeaders: { 'x-farthing-run': 'run-1' } });
  const headers = { traceparent: '00-1-2-03', cookie: 'a=b', 'x-anything': 'else' };
  await client.chat.completions.create(ask('seen-node'), { headers });
  const seen = (await behind.last('seen-node')).headers;
  assert.match(seen['user-agent'], /^OpenAI\/JS/);
  assert.equal(seen['x-stainless-lang'], 'js');
  assert.equal(seen.traceparent, '00-1-2-03');
  assert.equal(seen['accept-encoding'], 'identity');
  for (const name of ['authorization', 'cookie', 'openai-organization', 'openai-project', 'x-anything', 'x-farthing-run']) {
    assert.equal(seen[name], undefined, name);
  }
});

test('a long conversation goes and comes back whole', async () => {
  const said = Array.from({ length: 2_500 }, (_, line) => `${line} INFO load_orders wrote a row\n`).join('');
  const messages = [{ role: 'user', content: said }];
  const answer = await sdk().chat.completions.create(ask('chat-echo', { messages }));
  assert.equal(answer.choices[0].message.content, said);
});
