/** Adding an account to send with: a few questions, then hubctl checks, keeps and writes it. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { field } from '../parts.js';

/** @typedef {{key: string, label: string, hint?: string, placeholder?: string, secret?: boolean, choices?: string[]}} Question */

/** @type {Question} */
const USERNAME = { key: 'username', label: 'User name', placeholder: 'usually your email address' };
/** @type {Question} */
const RATE = {
  key: 'rate',
  label: 'Limit',
  placeholder: 'such as 30/minute',
  hint: 'Empty: as fast as it takes them.',
};

/** @type {Record<string, {title: string, given: Record<string, string>, questions: Question[]}>} */
export const KINDS = {
  gmail: {
    title: 'Gmail',
    given: { preset: 'gmail' },
    questions: [
      { ...USERNAME, label: 'Gmail address', placeholder: 'you@gmail.com' },
      {
        key: 'secret',
        label: 'App password',
        secret: true,
        hint: 'Your Google account makes one under Security, when 2-step verification is on. Your usual password does not work.',
      },
      RATE,
    ],
  },
  smtp: {
    title: 'Another mail server',
    given: { type: 'smtp' },
    questions: [
      { key: 'host', label: 'Server', placeholder: 'mail.acme.example' },
      { key: 'port', label: 'Port', placeholder: '587' },
      { key: 'security', label: 'Encryption', choices: ['starttls', 'tls', 'none'] },
      { ...USERNAME, hint: 'Empty if the server wants none.' },
      { key: 'secret', label: 'Password', secret: true },
      RATE,
    ],
  },
  twilio: {
    title: 'Twilio (SMS)',
    given: { type: 'twilio' },
    questions: [
      { key: 'account_sid', label: 'Account SID', placeholder: 'AC…' },
      { key: 'secret', label: 'Auth token', secret: true },
      { key: 'from', label: 'From', placeholder: '+15005550006', hint: 'The number that messages come from.' },
      RATE,
    ],
  },
};

/**
 * What is handed over: only the answers to the questions of this kind.
 * @param {string} kind
 * @param {Record<string, string>} answers
 */
export function accountOf(kind, answers) {
  const { given, questions } = KINDS[kind];
  /** @type {Record<string, string>} */
  const account = { ...given, name: (answers.name ?? '').trim() };
  for (const { key, choices } of questions) {
    const value = answers[key] ?? choices?.[0] ?? '';
    if (value.trim()) account[key] = value;
  }
  return account;
}

/**
 * @param {any} app
 * @param {(name: string) => void} added called with its name
 */
export function askAdd(app, added) {
  /** @type {Record<string, string>} */
  const answers = { name: '' };
  const own = { kind: 'smtp' };
  app.ask({
    kind: 'ask',
    title: 'Add a provider',
    words:
      'The password goes into the keyring of your desktop or into a file that only you can read, never into hubd.toml. For a login by OAuth 2.0, use hubctl provider add.',
    get body() {
      return html`<div class="stack form">
        ${field({
          id: 'kind',
          label: 'Account',
          control: html`<select
            class="input"
            id="kind"
            @change=${(/** @type {any} */ event) => {
              own.kind = event.target.value;
              app.draw(true);
            }}
          >
            ${Object.entries(KINDS).map(([name, { title }]) => html`<option value=${name} ?selected=${name === own.kind}>${title}</option>`)}
          </select>`,
        })}
        ${question(answers, { key: 'name', label: 'Name', placeholder: 'office', hint: 'Campaigns use it by this name.' })}
        ${KINDS[own.kind].questions.map((each) => question(answers, each))}
      </div>`;
    },
    button: 'Add and test the login',
    act: async () => {
      const account = accountOf(own.kind, answers);
      await app.program.ask('/provider/add', account);
      app.loadHub();
      added(account.name);
    },
  });
}

/**
 * @param {Record<string, string>} answers
 * @param {Question} question
 */
function question(answers, { key, label, hint, placeholder = '', secret = false, choices }) {
  const take = (/** @type {any} */ event) => (answers[key] = event.target.value);
  return field({
    id: `account-${key}`,
    label,
    hint: hint ?? nothing,
    control: choices
      ? html`<select class="input" id="account-${key}" @change=${take}>
          ${choices.map((each) => html`<option value=${each} ?selected=${each === answers[key]}>${each}</option>`)}
        </select>`
      : html`<input
          class="input"
          id="account-${key}"
          type=${secret ? 'password' : 'text'}
          autocomplete=${secret ? 'new-password' : 'off'}
          placeholder=${placeholder}
          .value=${answers[key] ?? ''}
          @input=${take}
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
    words:
      'It is taken out of hubd.toml, and its password is forgotten. Campaigns that use it wait until it is there again.',
    button: 'Remove the provider',
    act: async () => {
      await app.program.ask('/provider/remove', name);
      app.loadHub();
    },
  });
}
