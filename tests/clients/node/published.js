// The shapes that vendors publish, read from the types of their SDKs, and values held to them.
//
// The declarations in `openai` and `@anthropic-ai/sdk` are generated from the vendors' OpenAPI specifications, which they
// say in their first line; unlike the models for Python they keep apart what may be left out and what may be null. So a key
// that is required is there even if it is null, a key that is not published is refused at every depth, and words are those
// of their enumerations.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');

const TOKEN = /\/\*[^]*?\*\/|\/\/[^\n]*|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[A-Za-z_$][\w$]*|-?\d[\d_.]*|=>|\.\.\.|[^\s\w]/g;
const KINDS = new Set(['string', 'number', 'boolean', 'unknown', 'any', 'object', 'null', 'undefined', 'true', 'false']);

/** The declarations of one file: by their names, those of namespaces below the namespace's. */
function declarations(file) {
  const tokens = fs.readFileSync(file, 'utf8').match(TOKEN).filter((token) => !/^\/[*/]/.test(token));
  const scope = { file, imports: new Map(), names: new Map(), parent: null };
  let at = 0;
  const peek = (ahead = 0) => tokens[at + ahead];
  const take = (wanted) => {
    const token = tokens[at++];
    assert.ok(wanted === undefined || token === wanted, `${file}: \`${wanted}\` wanted, \`${token}\` found`);
    return token;
  };
  const takes = (wanted) => peek() === wanted && Boolean(take());

  function skipStatement() {
    for (let depth = 0; at < tokens.length; ) {
      const token = take();
      if ('{([<'.includes(token)) depth += 1;
      if ('})]>'.includes(token)) depth -= 1;
      if (depth === 0 && (token === ';' || token === '}')) return;
    }
  }

  function importFrom() {
    const names = [];
    if (takes('type')) return skipStatement();
    if (takes('*')) {
      take('as');
      names.push([take(), null]);
    } else if (takes('{')) {
      while (!takes('}')) {
        takes('type');
        const name = take();
        names.push([takes('as') ? take() : name, name]);
        takes(',');
      }
    } else return skipStatement();
    take('from');
    const from = take().slice(1, -1);
    takes(';');
    if (from.startsWith('.')) names.forEach(([local, name]) => scope.imports.set(local, { from, name }));
  }

  function body(into) {
    while (at < tokens.length && peek() !== '}') statement(into);
  }

  function statement(into) {
    if (takes(';')) return;
    if (takes('import')) return importFrom();
    if (peek() === 'export' && peek(1) === '{') return skipStatement();
    takes('export');
    takes('declare');
    const kind = take();
    if (kind === 'namespace') {
      const name = take();
      const inner = { file, imports: new Map(), names: new Map(), parent: into };
      take('{');
      body(inner);
      take('}');
      into.names.set(name, { ...into.names.get(name), inner });
    } else if (kind === 'interface' && peek(1) !== '<') {
      const name = take();
      const bases = [];
      if (takes('extends')) do bases.push(named()); while (takes(','));
      into.names.set(name, { ...into.names.get(name), type: { bases, members: members() } });
    } else if (kind === 'type' && peek(1) === '=') {
      const name = take();
      take('=');
      into.names.set(name, { ...into.names.get(name), type: union() });
      takes(';');
    } else skipStatement();
  }

  function members() {
    const found = new Map();
    take('{');
    while (!takes('}')) {
      takes('readonly');
      if (takes('[')) {
        while (!takes(']')) take();
        take(':');
        found.set('*', { type: union() });
      } else {
        const key = take().replace(/^['"]|['"]$/g, '');
        const isOptional = takes('?');
        take(':');
        found.set(key, { isOptional, type: union() });
      }
      takes(';');
    }
    return found;
  }

  function union() {
    takes('|');
    const any = [both()];
    while (takes('|')) any.push(both());
    return any.length === 1 ? any[0] : { any };
  }

  function both() {
    const all = [single()];
    while (takes('&')) all.push(single());
    // `string & {}` is any text.
    return all.length === 1 ? all[0] : { all: all.filter((type) => type.members?.size !== 0) };
  }

  function single() {
    let type;
    if (takes('(')) {
      type = union();
      take(')');
    } else if (peek() === '{') type = { bases: [], members: members() };
    else if (/^['"\d-]/.test(peek())) type = { value: JSON.parse(take().replace(/^'|'$/g, '"')) };
    else type = named();
    while (peek() === '[' && peek(1) === ']') {
      at += 2;
      type = { items: type };
    }
    return type;
  }

  function named() {
    const words = [take()];
    while (takes('.')) words.push(take());
    const given = [];
    if (takes('<')) {
      do given.push(union()); while (takes(','));
      take('>');
    }
    if (words[0] === 'Array') return { items: given[0] };
    if (words[0] === 'Record') return { bases: [], members: new Map([['*', { type: given[1] }]]) };
    return words.length === 1 && KINDS.has(words[0]) ? { kind: words[0] } : { words, given };
  }

  body(scope);
  return scope;
}

/** The types of one package. */
class Published {
  #files = new Map();

  /** `own` are keys that an SDK adds to what it received, as `Type.key`. */
  constructor(folder, own = []) {
    this.folder = folder;
    this.own = new Set(own);
  }

  #scope(file) {
    if (!this.#files.has(file)) this.#files.set(file, declarations(file));
    return this.#files.get(file);
  }

  #find(words, scope) {
    const [first, ...rest] = words;
    for (let here = scope; here; here = here.parent) {
      const found = here.names.get(first);
      if (found && rest.length === 0 && found.type) return { type: found.type, scope: here, name: first };
      if (found?.inner && rest.length > 0) return this.#find(rest, found.inner);
      const imported = here.imports.get(first);
      if (imported) {
        const file = path.resolve(path.dirname(here.file), imported.from).replace(/\.m?js$/, '.d.mts');
        const next = imported.name ? [imported.name, ...rest] : rest;
        return this.#find(next, this.#scope(file));
      }
    }
    throw new Error(`${words.join('.')} is not published in ${scope.file}`);
  }

  /** Everything in which `value` is not of the type of this name; nothing: it is. */
  faults(file, name, value) {
    const scope = this.#scope(path.join(this.folder, `${file}.d.mts`));
    return this.#faults({ words: name.split('.') }, scope, value, name);
  }

  #faults(type, scope, value, where) {
    if (type.words) {
      const found = this.#find(type.words, scope);
      return this.#faults({ ...found.type, name: found.name }, found.scope, value, where);
    }
    if (type.any) return this.#best(type.any, scope, value, where);
    if (type.all) return type.all.flatMap((part) => this.#faults(part, scope, value, where));
    if ('value' in type) return type.value === value ? [] : [`${where}: ${told(type.value)} wanted, ${told(value)} found`];
    if (type.items) {
      if (!Array.isArray(value)) return [`${where}: an array wanted, ${told(value)} found`];
      return value.flatMap((item, index) => this.#faults(type.items, scope, item, `${where}[${index}]`));
    }
    if (type.members) return this.#object(type, scope, value, where);
    return fits(type.kind, value) ? [] : [`${where}: ${type.kind} wanted, ${told(value)} found`];
  }

  /** What is wrong with the alternative that fits best: one of the same `type`, if there is one. */
  #best(any, scope, value, where) {
    let best;
    for (const type of any) {
      const faults = this.#faults(type, scope, value, where);
      if (faults.length === 0) return [];
      const isOther = faults.some((fault) => fault.startsWith(`${where}.type:`) || fault.startsWith(`${where}: `));
      const weight = faults.length + (isOther ? 1000 : 0);
      if (!best || weight < best.weight) best = { faults, weight };
    }
    return best.faults;
  }

  #object(type, scope, value, where) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      return [`${where}: an object wanted, ${told(value)} found`];
    }
    const members = this.#membersOf(type, scope);
    const faults = [];
    for (const [key, { member }] of members) {
      const isOurs = this.own.has(`${type.name}.${key}`);
      if (key !== '*' && !member.isOptional && !isOurs && !(key in value)) faults.push(`${where}.${key}: it is required`);
    }
    for (const [key, inner] of Object.entries(value)) {
      const found = members.get(key) ?? members.get('*');
      if (!found || this.own.has(`${type.name}.${key}`)) faults.push(`${where}.${key}: nobody has published it`);
      else faults.push(...this.#faults(found.member.type, found.scope, inner, `${where}.${key}`));
    }
    return faults;
  }

  #membersOf(type, scope) {
    const members = new Map();
    for (const base of type.bases) {
      const found = this.#find(base.words, scope);
      for (const [key, member] of this.#membersOf(found.type, found.scope)) members.set(key, member);
    }
    for (const [key, member] of type.members) members.set(key, { member, scope });
    return members;
  }
}

function fits(kind, value) {
  if (kind === 'unknown' || kind === 'any') return true;
  if (kind === 'null') return value === null;
  if (kind === 'true' || kind === 'false') return value === (kind === 'true');
  if (kind === 'object') return value !== null && typeof value === 'object';
  return typeof value === kind;
}

function told(value) {
  return JSON.stringify(value)?.slice(0, 80) ?? 'nothing';
}

module.exports = { Published };
