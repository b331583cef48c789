// Clients that leave early, and many at once: the provider sees the one, the ledger all of them.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { OpenAI, ask, behind, collect, failure, ledger, sdk, textOf } = require('./support.js');

async function checkCut(model) {
  assert.equal((await behind.hungUp(model)).length, 1);
  const [row] = await ledger.closed(model);
  assert.deepEqual([row.status, row.cost_nano, row.cost_low_nano], ['client_closed', null, 0]);
  const attempts = await ledger.attempts(row.request_id);
  assert.deepEqual(attempts.map((attempt) => [attempt.fate, attempt.source]), [['cut', 'unknown']]);
}

test('a request that is aborted before its answer hangs up', async () => {
  const leaving = new AbortController();
  const asked = sdk().chat.completions.create(ask('stalls-whole'), { signal: leaving.signal });
  const failed = failure(OpenAI.APIUserAbortError, () => asked);
  await behind.arrived('stalls-whole');
  leaving.abort();
  await failed;
  await checkCut('stalls-whole');
});

test('leaving the iteration of a stream reaches the provider and is settled as cut', async () => {
  for await (const chunk of await sdk().chat.completions.create(ask('stalls-within-node', { stream: true }))) {
    assert.equal(chunk.choices[0].delta.role, 'assistant');
    break;
  }
  await checkCut('stalls-within-node');
});

test('aborting the controller of a stream is a cut too', async () => {
  const stream = await sdk().chat.completions.create(ask('stalls-within-sync', { stream: true }));
  const steps = stream[Symbol.asyncIterator]();
  await steps.next();
  stream.controller.abort();
  // An abort ends the iteration without an error.
  for (let step = await steps.next(); !step.done; step = await steps.next());
  await checkCut('stalls-within-sync');
});

test('aborting the stream helper is a cut too', async () => {
  const stream = sdk().chat.completions.stream(ask('stalls-helper-node'));
  const failed = failure(OpenAI.APIUserAbortError, () => stream.done());
  await new Promise((arrived) => stream.once('chunk', arrived));
  stream.abort();
  await failed;
  await checkCut('stalls-helper-node');
});

test('many streams at once stay apart and are all accounted for', async () => {
  const [count, run, client] = [64, 'many-at-once', sdk()];
  const one = async (number) => {
    const [model, wanted] = number % 2 ? ['chat-echo', `number ${number}`] : ['chat-many', undefined];
    const messages = [{ role: 'user', content: wanted ?? 'hi' }];
    const metadata = { run, user: String(number) };
    const chunks = await collect(client.chat.completions.create(ask(model, { messages, stream: true, metadata })));
    assert.ok(wanted ? textOf(chunks) === wanted : textOf(chunks).trim().split(' ').length === 40, textOf(chunks));
  };
  await Promise.all(Array.from({ length: count }, (_, number) => one(number)));
  const rows = await ledger.until(`select * from requests_v1 where run = ? and status = 'ok'`, [run], count);
  assert.equal(new Set(rows.map((row) => row.user)).size, count);
  assert.ok(rows.every((row) => row.cost_nano > 0));
});
