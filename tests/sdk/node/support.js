// What the cases share: the SDK, and eyes behind the gateway.
//
// `tests/it/sdk.rs` starts the world and says in the environment where everything is. FARTHING_SDK names the package to
// test: `openai`, or `openai-previous` for the last release of the major before it.

const assert = require('node:assert/strict');
const net = require('node:net');
const { DatabaseSync } = require('node:sqlite');
const { setTimeout: pause } = require('node:timers/promises');

const OpenAI = require(process.env.FARTHING_SDK);
const { zodResponseFormat } = require(`${process.env.FARTHING_SDK}/helpers/zod`);

const BASE_URL = process.env.FARTHING_BASE_URL;
const OPEN_BASE_URL = process.env.FARTHING_OPEN_BASE_URL;
const KEY = process.env.FARTHING_KEY;
const NARROW_KEY = process.env.FARTHING_NARROW_KEY;

// No wait of a case comes near it; a case that would hang fails instead.
const PATIENCE_MS = 20_000;

/** A client of the gateway with keys. */
function sdk(options = {}) {
  return new OpenAI({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 0, timeout: PATIENCE_MS, ...options });
}

/** The arguments of a chat completion; `messages` among `more` replace the plain question. */
function ask(model, more = {}) {
  return { model, messages: [{ role: 'user', content: 'hi' }], ...more };
}

/** All that an async iteration gives. */
async function collect(steps) {
  const all = [];
  for await (const step of await steps) all.push(step);
  return all;
}

/** The text that the chunks of a stream add up to. */
function textOf(chunks) {
  return chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? '')).join('');
}

/** The error that `call` throws, which must be of exactly this class. */
async function failure(kind, call) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.constructor, kind, `${error.constructor.name}: ${error.message}`);
    return error;
  }
  assert.fail(`no ${kind.name} was thrown`);
}

/** What the scripted provider saw. */
const behind = {
  async look(path) {
    const answer = await fetch(process.env.FARTHING_BEHIND + path, { signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.json();
  },
  /** The requests for `model` so far, oldest first. */
  requests: (model) => behind.look(`/requests/${model}`),
  /** The newest request for `model`. */
  last: async (model) => (await behind.requests(model)).at(-1),
  /** Waits until a request for `model` has arrived. */
  arrived: (model) => behind.look(`/arrived/${model}`),
  /** Waits until the provider has seen somebody hang up on `model`. */
  hungUp: async (model) => (await behind.look(`/hung-up/${model}`)).filter((seen) => seen.hung_up),
};

/** The ledger's views, as any outsider reads them. */
const ledger = {
  views: undefined,
  rows(sql, ...values) {
    ledger.views ??= new DatabaseSync(process.env.FARTHING_LEDGER, { readOnly: true });
    return ledger.views.prepare(sql).all(...values);
  },
  /** The rows once there are `count`: SQLite tells other processes nothing, so this looks again and again. */
  async until(sql, values, count = 1) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const rows = ledger.rows(sql, ...values);
      if (rows.length >= count) return rows;
      assert.ok(Date.now() < deadline, `${rows.length} of ${count} rows: ${sql} ${values}`);
      await pause(5);
    }
  },
  /** The closed row of a request. */
  async request(id) {
    return (await ledger.until(`select * from requests_v1 where request_id = ? and status <> 'open'`, [id]))[0];
  },
  /** The attempts of a closed request, in order. */
  async attempts(id) {
    await ledger.request(id);
    return ledger.rows('select * from attempts_v1 where request_id = ? order by attempt_id', id);
  },
  /** The closed requests that asked for `model`. */
  closed(model, count = 1) {
    const sql = `select * from requests_v1 where model = ? and status <> 'open' order by request_id`;
    return ledger.until(sql, [model], count);
  },
  /** The closed requests of a user: cases that get no request id make one up. */
  ofUser(user, count = 1) {
    return ledger.until(`select * from requests_v1 where user = ? and status <> 'open'`, [user], count);
  },
};

/** A port that nobody listens on. */
async function unusedPort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

module.exports = {
  BASE_URL, KEY, NARROW_KEY, OPEN_BASE_URL, OpenAI,
  ask, behind, collect, failure, ledger, sdk, textOf, unusedPort, zodResponseFormat,
};
