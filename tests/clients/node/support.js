// What the cases share: SDKs of both vendors, at rows of every kind, and eyes behind the gateway.
//
// `tests/it/clients.rs` starts the world. FARTHING_ANTHROPIC_SDK names the package of Anthropic's to test, FARTHING_SDK
// that of OpenAI's. A model is `ROW-CASE`: the same script at `claude-opus-5`, which is called in Messages, `gpt-4o`, in
// Chat Completions, and `o3`, in Responses.

const assert = require('node:assert/strict');
const openai = require('../../sdk/node/support.js');

const Anthropic = require(process.env.FARTHING_ANTHROPIC_SDK);
const { zodOutputFormat } = require(`${process.env.FARTHING_ANTHROPIC_SDK}/helpers/zod`);

const ROWS = ['claude-opus-5', 'gpt-4o', 'o3'];
// Anthropic's clients say `/v1` themselves.
const ROOT_URL = openai.BASE_URL.replace(/\/v1$/, '');

/** A client of the gateway with keys. */
function claude(options = {}) {
  return new Anthropic({ baseURL: ROOT_URL, apiKey: openai.KEY, maxRetries: 0, timeout: 20_000, ...options });
}

/** The arguments of a message; `messages` among `more` replace the plain question. */
function message(model, more = {}) {
  return { model, max_tokens: 500, messages: [{ role: 'user', content: 'hi' }], ...more };
}

/** The text of a message. */
function textOf(answer) {
  return answer.content.filter((block) => block.type === 'text').map((block) => block.text).join('');
}

/** The calls of a message. */
function callsOf(answer) {
  return answer.content.filter((block) => block.type === 'tool_use').map((block) => [block.name, block.input]);
}

/** The error of Anthropic's that `call` throws, with this status and of this type. */
async function refused(status, type, call) {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof Anthropic.APIError, `${error}`);
    assert.deepEqual([error.status, error.error.error.type], [status, type], error.message);
    return error;
  }
  assert.fail('nothing was thrown');
}

/** The provider saw its client hang up, and the books say so. */
async function checkCut(model) {
  assert.equal((await openai.behind.hungUp(model)).length, 1);
  const [row] = await openai.ledger.closed(model);
  assert.deepEqual([row.status, row.http_status], ['client_closed', 499]);
  const attempts = await openai.ledger.attempts(row.request_id);
  assert.deepEqual(attempts.map((attempt) => attempt.fate), ['cut']);
}

module.exports = {
  ...openai, Anthropic, ROOT_URL, ROWS,
  callsOf, checkCut, claude, message, refused, said: textOf, zodOutputFormat,
};
