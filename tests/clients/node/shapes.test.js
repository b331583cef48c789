// Everything that the gateway itself writes has exactly the shape that its vendor publishes: no key more, none that is
// required less, at any depth, in whole answers, in events and in errors.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { Published } = require('./published.js');
const { BASE_URL, KEY, ROWS } = require('./support.js');

// Shapes are those of the newest majors, whichever is called.
const isCurrent = process.env.FARTHING_SDK === 'openai';
const published = (name, own) => new Published(path.join(path.dirname(require.resolve(name)), 'resources'), own);
const OPENAI = isCurrent && published('openai', ['Response.output_text']);
const ANTHROPIC = isCurrent && published('anthropic', []);
const shape = (name, body) => test(name, { skip: !isCurrent }, body);

/** Fails unless `value` is of a published type. */
function held(vendor, file, type, value) {
  assert.deepEqual(vendor.faults(file, type, value), [], JSON.stringify(value));
}

/**
 * Our code is in the one place where Anthropic's SDKs read one, for which their specification has a list of their own; and the
 * documentation has a type that the specification lacks: https://platform.claude.com/docs/en/api/errors
 */
function withoutCode(error) {
  const { details, ...rest } = error.error;
  if (details !== undefined) assert.deepEqual(Object.keys(details), ['error_code']);
  const type = rest.type === 'request_too_large' ? 'invalid_request_error' : rest.type;
  return { ...error, error: { ...rest, type } };
}

/** Chunks in which OpenAI's models that search tell what they cite have a member that is declared for whole messages only. */
function withoutAnnotations(chunk) {
  const choices = chunk.choices.map(({ delta: { annotations, ...delta }, ...choice }) => {
    annotations?.forEach((cited) => held(OPENAI, 'chat/completions/completions', 'ChatCompletionMessage.Annotation', cited));
    return { ...choice, delta };
  });
  return { ...chunk, choices };
}

/** What is held in each dialect: a whole answer, an event, the body of an error. */
const DIALECTS = {
  chat: {
    path: '/chat/completions',
    whole: (answer) => held(OPENAI, 'chat/completions/completions', 'ChatCompletion', answer),
    event: (data) =>
      data.error
        ? DIALECTS.chat.error(data)
        : held(OPENAI, 'chat/completions/completions', 'ChatCompletionChunk', withoutAnnotations(data)),
    error(body) {
      assert.deepEqual(Object.keys(body), ['error']);
      held(OPENAI, 'shared', 'ErrorObject', body.error);
    },
  },
  responses: {
    path: '/responses',
    whole: (answer) => held(OPENAI, 'responses/responses', 'Response', answer),
    event: (data) => held(OPENAI, 'responses/responses', 'ResponseStreamEvent', data),
    error: (body) => DIALECTS.chat.error(body),
  },
  messages: {
    path: '/messages',
    whole: (answer) => held(ANTHROPIC, 'messages/messages', 'Message', answer),
    event(data) {
      if (data.type === 'error') DIALECTS.messages.error(data);
      // Their streams have it, and their specification does not.
      else if (data.type === 'ping') assert.deepEqual(data, { type: 'ping' });
      else held(ANTHROPIC, 'messages/messages', 'RawMessageStreamEvent', data);
    },
    error: (body) => held(ANTHROPIC, 'shared', 'ErrorResponse', withoutCode(body)),
  },
};

/** The events of a stream: the name of each, and what it says. */
function events(text) {
  return text.split('\n\n').flatMap((event) => {
    const lines = event.split('\n').filter((line) => !line.startsWith(':'));
    const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    return field('data') === undefined ? [] : [{ name: field('event'), data: field('data') }];
  });
}

/** Fails unless a stream is one of this dialect, event by event and as a whole; gives the data. */
function heldStream(dialect, text) {
  const all = events(text);
  const ends = all.filter(({ data }) => data === '[DONE]').length;
  const datas = all.filter(({ data }) => data !== '[DONE]').map(({ data }) => JSON.parse(data));
  datas.forEach(DIALECTS[dialect].event);
  const last = datas.at(-1);
  const failed = 'error' in last || last.type === 'error' || last.type === 'response.failed';
  assert.equal(ends, dialect === 'chat' && !failed ? 1 : 0, text);
  if (dialect === 'chat') {
    assert.ok(all.every(({ name }) => name === undefined));
    const usages = datas.filter((data) => data.usage);
    const asked = datas.some((data) => 'usage' in data);
    assert.deepEqual(usages.map((data) => data.choices), asked && !failed ? [[]] : [], 'usage comes once, by itself');
    assert.ok(datas.every((data) => data.error || data.usage || data.choices.length === 1));
    assert.equal(datas.filter((data) => data.choices?.[0]?.finish_reason).length, failed ? 0 : 1);
  } else {
    assert.deepEqual(all.map(({ name }) => name), datas.map((data) => data.type));
  }
  if (dialect === 'responses') {
    assert.deepEqual(datas.map((data) => data.sequence_number), datas.map((_, number) => number));
    const done = datas.filter((data) => data.type === 'response.output_item.done').sort((a, b) => a.output_index - b.output_index);
    if (last.response) assert.deepEqual(last.response.output, done.map((data) => data.item));
  }
  return datas;
}

const RECORDED = path.join(__dirname, '../../it');
for (const folder of ['translated', 'translated_responses']) {
  for (const file of fs.readdirSync(path.join(RECORDED, folder)).filter((name) => name.endsWith('.out.sse'))) {
    shape(`the recorded stream ${folder}/${file} has the published shapes`, () => {
      const isResponses = folder === 'translated_responses' && !file.startsWith('responses_');
      const dialect = isResponses ? 'responses' : file.startsWith('messages_') ? 'chat' : 'messages';
      heldStream(dialect, fs.readFileSync(path.join(RECORDED, folder, file), 'utf8'));
    });
  }
}

const TOOLS = ['task_log', 'row_count'].map((name) => [name, { type: 'object', properties: {} }]);
const SCHEMA = { type: 'object', properties: { task: { type: 'string' } }, required: ['task'], additionalProperties: false };

/** A request in each dialect, by what of it matters here. */
const ASK = {
  chat: (model, { limit, tools, schema, stream }) => ({
    model,
    messages: [{ role: 'user', content: 'hi' }],
    ...(limit && { max_completion_tokens: limit }),
    ...(tools && { tools: TOOLS.map(([name, parameters]) => ({ type: 'function', function: { name, parameters } })) }),
    ...(schema && { response_format: { type: 'json_schema', json_schema: { name: 'a', strict: true, schema: SCHEMA } } }),
    ...(stream && { stream, stream_options: { include_usage: true } }),
  }),
  responses: (model, { limit, tools, schema, stream }) => ({
    model,
    input: 'hi',
    store: false,
    ...(limit && { max_output_tokens: limit }),
    ...(tools && { tools: [{ type: 'function', name: TOOLS[0][0], parameters: TOOLS[0][1] }, { type: 'custom', name: TOOLS[1][0] }] }),
    ...(schema && { text: { format: { type: 'json_schema', name: 'a', strict: true, schema: SCHEMA } } }),
    ...(stream && { stream }),
  }),
  messages: (model, { limit, tools, schema, stream }) => ({
    model,
    max_tokens: limit ?? 500,
    messages: [{ role: 'user', content: 'hi' }],
    ...(tools && { tools: TOOLS.map(([name, input_schema]) => ({ name, input_schema })) }),
    ...(schema && { output_config: { format: { type: 'json_schema', schema: SCHEMA } } }),
    ...(stream && { stream }),
  }),
};

async function send(path, { method = 'POST', body, headers = {} } = {}) {
  const json = body && { 'content-type': 'application/json' };
  const options = { method, headers: { authorization: `Bearer ${KEY}`, ...json, ...headers }, signal: AbortSignal.timeout(20_000) };
  const answer = await fetch(BASE_URL + path, { ...options, ...(body && { body: JSON.stringify(body) }) });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

const CASES = [
  ['plain', {}], ['awkward', {}], ['many', { limit: 20 }], ['tools', { tools: true }], ['refusal', {}],
  ['verdict', { schema: true }],
];
const PAIRS = [['chat', ROWS[0]], ['responses', ROWS[0]], ['messages', ROWS[1]], ['messages', ROWS[2]]];

for (const [dialect, row] of PAIRS) {
  shape(`answers of ${row} have the shapes of ${dialect}`, async () => {
    for (const [name, more] of CASES) {
      const model = `${row}-${name}`;
      const whole = await send(DIALECTS[dialect].path, { body: ASK[dialect](model, more) });
      assert.equal(whole.status, 200, whole.text);
      DIALECTS[dialect].whole(JSON.parse(whole.text));
      const streamed = await send(DIALECTS[dialect].path, { body: ASK[dialect](model, { ...more, stream: true }) });
      assert.equal(streamed.status, 200, streamed.text);
      heldStream(dialect, streamed.text);
    }
  });
}

for (const [dialect, { path: at, error }] of Object.entries(DIALECTS)) {
  shape(`errors have the shape of ${dialect}, wherever they come from`, async () => {
    const all = ROWS.flatMap((row) => [400, 401, 404, 413, 429, 500, 503, 529].map((status) => `${row}-fails-${status}`));
    const bodies = [...all, 'nobody-knows', 7].map((model) => ({ body: ASK[dialect](model, {}) }));
    const others = [{ method: 'PATCH' }, { method: 'POST', body: [] }, { headers: { authorization: 'Bearer fk-nobody' } }];
    for (const call of [...bodies, ...others]) {
      const refused = await send(at, call);
      assert.ok(refused.status >= 400, refused.text);
      error(JSON.parse(refused.text));
    }
    for (const row of ROWS) {
      for (const name of ['fails-within', 'resets-within', 'ends-within']) {
        const broken = await send(at, { body: ASK[dialect](`${row}-${name}`, { stream: true }) });
        const last = JSON.parse(events(broken.text).at(-1).data);
        // In its own dialect a response that failed is the provider's, as far as it had come.
        if (dialect !== 'responses' || row === ROWS[0]) DIALECTS[dialect].event(last);
        assert.ok(last.error || last.response?.error || last.type === 'error', broken.text);
      }
    }
    const nothing = await send(dialect === 'messages' ? '/messages/nothing' : '/nothing', { body: {} });
    assert.equal(nothing.status, 404);
    error(JSON.parse(nothing.text));
  });
}

shape('models are listed as either vendor lists them', async () => {
  const ofOpenai = JSON.parse((await send('/models', { method: 'GET' })).text);
  assert.deepEqual([Object.keys(ofOpenai).sort(), ofOpenai.object], [['data', 'object'], 'list']);
  ofOpenai.data.forEach((model) => held(OPENAI, 'models', 'Model', model));
  const headers = { 'anthropic-version': '2026-10-21' };
  const ofAnthropic = JSON.parse((await send('/models', { method: 'GET', headers })).text);
  assert.deepEqual(Object.keys(ofAnthropic).sort(), ['data', 'first_id', 'has_more', 'last_id']);
  ofAnthropic.data.forEach((model) => held(ANTHROPIC, 'models', 'ModelInfo', model));
  assert.ok(ofOpenai.data.length > 0 && ofAnthropic.data.length > 0);
});
