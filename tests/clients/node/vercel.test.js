// The AI SDK of Vercel, by each of its providers, at rows of every kind.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { createAnthropic } = require('@ai-sdk/anthropic');
const { createOpenAI } = require('@ai-sdk/openai');
const ai = require('ai');
const { z } = require('zod');
const { BASE_URL, KEY, ROWS, ledger } = require('./support.js');

const openai = createOpenAI({ baseURL: BASE_URL, apiKey: KEY });
const anthropic = createAnthropic({ baseURL: BASE_URL, apiKey: KEY });
const PROVIDERS = {
  openai: (model) => openai.chat(model),
  responses: (model) => openai.responses(model),
  anthropic: (model) => anthropic(model),
};
const ONCE = { maxRetries: 0 };

function tools(seen) {
  const tool = (name, key) =>
    ai.tool({
      description: name,
      inputSchema: z.object({ [key]: z.string() }),
      execute: (given) => {
        seen.push([name, given]);
        return 'no new files';
      },
    });
  return { task_log: tool('task_log', 'task'), row_count: tool('row_count', 'table') };
}

for (const row of ROWS) {
  for (const [name, provider] of Object.entries(PROVIDERS)) {
    test(`${row} by ${name}: a streamed loop of tools closes`, async () => {
      const [seen, model] = [[], `${row}-loop-vercel-${name}`];
      const ended = ai.streamText({
        model: provider(model), prompt: 'why is it late?', tools: tools(seen), stopWhen: ai.isStepCount(3), ...ONCE,
      });
      assert.equal(await ended.text, 'Retry load_orders: 0 rows.');
      assert.deepEqual(seen, [['task_log', { task: 'load_orders' }], ['row_count', { table: 'orders' }]]);
      assert.equal(await ended.finishReason, 'stop');
      const rows = await ledger.closed(model, 2);
      assert.deepEqual(rows.map(({ status }) => status), ['ok', 'ok']);
      assert.ok((await ended.totalUsage).outputTokens > 0);
    });

    test(`${row} by ${name}: a schema is filled`, async () => {
      const schema = z.object({ task: z.string(), retry: z.boolean(), after_minutes: z.number() });
      const output = ai.Output.object({ schema });
      const ended = await ai.generateText({ model: provider(`${row}-verdict`), prompt: 'hi', output, ...ONCE });
      assert.deepEqual(ended.output, { task: 'load_orders', retry: true, after_minutes: 5 });
    });
  }
}
