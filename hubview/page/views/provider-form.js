/** Adding, changing and removing an account that messages are sent with: the questions of `hubctl provider add`. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { field } from '../parts.js';

/** @typedef {{key: string, writes: string, label: string, placeholder: string, choices: string[], only_with: [string, string] | null}} Option */
/** @typedef {{key: string, label: string, optional: boolean, only_with: [string, string] | null}} Secret */
/** @typedef {{word: string, type: string, chosen_by: string, title: string, advice: string, name: string, options: Option[], secrets: Secret[]}} Kind */

/** @type {Option} */
const RATE = {
  key: 'rate',
  writes: 'rate',
  label: 'Limits',
  placeholder: 'such as 30/minute, 500/day',
  choices: [],
  only_with: null,
};
const SAFE =
  'Passwords go into the keyring of your desktop or into a file that only you can read, never into hubd.toml.';

/**
 * Whether a question makes sense with the answers so far.
 * @param {Kind} kind
 * @param {Record<string, string>} answers
 * @param {{only_with: [string, string] | null}} question
 */
export function applies(kind, answers, { only_with: condition }) {
  if (!condition) return true;
  const [key, value] = condition;
  const option = kind.options.find((each) => each.key === key);
  return (answers[key] || option?.choices[0]) === value;
}

/**
 * What is handed over: only the answers to the questions of this kind that apply, and each secret on a line.
 * @param {Kind} kind
 * @param {Record<string, string>} answers
 * @param {Record<string, string> | null} [before] the values before a change: only what differs is handed over
 */
export function accountOf(kind, answers, before = null) {
  /** @type {Record<string, string>} */
  const account = { name: (answers.name ?? '').trim() };
  if (!before) account[kind.chosen_by || 'type'] = kind.chosen_by ? kind.word : kind.type;
  for (const option of [...kind.options, RATE]) {
    if (!applies(kind, answers, option)) continue;
    const value = (answers[option.key] ?? '').trim();
    if (before ? value !== (before[option.key] ?? '') : value) account[option.key] = value;
  }
  const secrets = kind.secrets.filter((each) => applies(kind, answers, each));
  const lines = secrets.map(({ key }) => answers[`secret:${key}`] ?? '');
  if (lines.some(Boolean)) account.secret = lines.join('\n').replace(/\n+$/, '');
  return account;
}

/**
 * The answers that hubd.toml gives for an account.
 * @param {Kind} kind
 * @param {string} name
 * @param {{key: string, value: any, source: string}[]} settings as config.show answers
 */
export function answersOf(kind, name, settings) {
  const written = new Map(
    settings
      .filter(({ source, value }) => source !== 'default' && value !== null)
      .map(({ key, value }) => [key, Array.isArray(value) ? value.join(', ') : String(value)]),
  );
  /** @type {Record<string, string>} */
  const answers = {};
  for (const { key, writes } of [...kind.options, RATE]) {
    const value = written.get(`providers.${name}.${writes}`);
    if (value !== undefined) answers[key] = value;
  }
  return answers;
}

/** @param {any} app @returns {Promise<Kind[]>} */
async function kindsOf(app) {
  return (await app.program.ask('/provider/kinds')).kinds;
}

/**
 * @param {any} app
 * @param {(name: string) => void} added called with its name
 */
export async function askAdd(app, added) {
  const kinds = await app.attempt(() => kindsOf(app));
  if (!kinds) return;
  /** @type {Record<string, string>} */
  const answers = {};
  const own = { kind: kinds[0] };
  app.ask({
    kind: 'ask',
    title: 'Add a provider',
    words: SAFE,
    get body() {
      return html`<div class="stack form">
        ${field({
          id: 'kind',
          label: 'Send with',
          control: html`<select
            class="input"
            id="kind"
            @change=${(/** @type {any} */ event) => {
              own.kind = kinds.find((/** @type {Kind} */ each) => each.word === event.target.value);
              app.draw(true);
            }}
          >
            ${kinds.map((/** @type {Kind} */ each) => html`<option value=${each.word} ?selected=${each === own.kind}>${each.title}</option>`)}
          </select>`,
        })}
        ${line(app, answers, { key: 'name', label: 'Name', placeholder: own.kind.name, choices: [] }, 'Campaigns use it by this name.')}
        ${questions(app, own.kind, answers)}
      </div>`;
    },
    button: 'Add and test the login',
    act: async () => {
      const account = accountOf(own.kind, { ...answers, name: answers.name || own.kind.name });
      await app.program.ask('/provider/add', account);
      app.loadHub();
      added(account.name);
    },
  });
}

/**
 * @param {any} app
 * @param {{name: string, type: string}} provider
 * @param {(name: string) => void} changed called with its name
 */
export async function askChange(app, { name, type }, changed) {
  const found = await app.attempt(async () => [await kindsOf(app), (await app.call('config.show')).settings]);
  if (!found) return;
  const [kinds, settings] = found;
  const chosen = (/** @type {Kind} */ { chosen_by: key, word }) =>
    settings.some((/** @type {any} */ each) => each.key === `providers.${name}.${key}` && each.value === word);
  const kind = kinds.find(chosen) ?? kinds.find((/** @type {Kind} */ each) => each.type === type && !each.chosen_by);
  if (!kind) return;
  const before = answersOf(kind, name, settings);
  const answers = { ...before };
  app.ask({
    kind: 'ask',
    title: `Change ${name}`,
    words: `${SAFE} Leave a password empty to keep the one that is stored.`,
    get body() {
      return html`<div class="stack form">${questions(app, kind, answers)}</div>`;
    },
    button: 'Change and test the login',
    act: async () => {
      await app.program.ask('/provider/set', { ...accountOf(kind, answers, before), name });
      app.loadHub();
      changed(name);
    },
  });
}

/**
 * @param {any} app
 * @param {Kind} kind
 * @param {Record<string, string>} answers
 */
function questions(app, kind, answers) {
  const secrets = kind.secrets.map((each) => ({ ...each, key: `secret:${each.key}`, secret: true, choices: [] }));
  const asked = [...kind.options, ...secrets, RATE].filter((each) => applies(kind, answers, each));
  return html`${kind.advice ? html`<p class="hint lines">${kind.advice}</p>` : nothing}
  ${asked.map((each) => line(app, answers, each))}`;
}

/**
 * @param {any} app
 * @param {Record<string, string>} answers
 * @param {{key: string, label: string, placeholder?: string, choices: string[], secret?: boolean}} question
 * @param {string} [hint]
 */
function line(app, answers, { key, label, placeholder = '', choices, secret = false }, hint) {
  const id = `account-${key}`;
  return field({
    id,
    label,
    hint: hint ?? nothing,
    control: choices.length
      ? html`<select
          class="input"
          id=${id}
          @change=${(/** @type {any} */ event) => {
            answers[key] = event.target.value;
            app.draw(true);
          }}
        >
          ${choices.map((each) => html`<option value=${each} ?selected=${each === answers[key]}>${each}</option>`)}
        </select>`
      : html`<input
          class="input"
          id=${id}
          type=${secret ? 'password' : 'text'}
          autocomplete=${secret ? 'new-password' : 'off'}
          placeholder=${placeholder}
          .value=${answers[key] ?? ''}
          @input=${(/** @type {any} */ event) => (answers[key] = event.target.value)}
        />`,
  });
}

/**
 * @param {any} app
 * @param {string} name
 */
export function askRemove(app, name) {
  app.ask({
    kind: 'ask',
    danger: true,
    title: `Remove ${name}?`,
    words: 'It is taken out of hubd.toml, and its password is forgotten. Campaigns that use it wait until it is back.',
    button: 'Remove the provider',
    act: async () => {
      await app.program.ask('/provider/remove', name);
      app.loadHub();
    },
  });
}
