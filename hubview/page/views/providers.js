/** Providers: the accounts that messages are sent with, how they are, and whether their login works. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { change } from '../actions.js';
import { channelName, plural, sentence, time, words } from '../format.js';
import { icon } from '../icons.js';
import { loading, pageHead } from '../parts.js';
import { mayChange } from '../store.js';
import { askAdd, askChange, askRemove } from './provider-form.js';
import { sources } from './sources.js';

/** @type {Record<string, [import('../icons.js').IconName, string]>} state: icon, colour */
const STATES = {
  ready: ['done', 'completed'],
  slowed: ['clock', 'paused'],
  resting: ['clock', 'paused'],
  half_open: ['clock', 'paused'],
  stopped: ['cross', 'failed'],
  disabled: ['skipped', 'stopped'],
};

/** @type {import('../pages.js').Page} */
export const providersPage = {
  title: () => 'Providers',
  view: providers,
  async open(app) {
    const { page } = app.state;
    app.loadHub();
    app.patch(page, { config: await app.call('config.show') });
    if (mayChange(app.state)) await knownAccounts(app, page);
  },
  event(app, { type }) {
    if (type.startsWith('config.')) app.refresh();
  },
};

/**
 * What hubd knows of the accounts without asking the providers: their limits, and where webhooks lead.
 * @param {any} app
 * @param {any} page
 */
async function knownAccounts(app, page) {
  /** @type {Record<string, any>} */
  const accounts = {};
  /** @type {Record<string, string>} */
  const webhooks = {};
  for (const { name, state } of (await app.call('provider.list')).providers) {
    if (state === 'disabled') continue;
    const { account, webhook } = await app.call('provider.test', { name, dry_run: true });
    if (account) accounts[name] = account;
    if (webhook) webhooks[name] = webhook;
  }
  app.patch(page, { accounts, webhooks });
}

/** @param {any} app */
export function providers(app) {
  const { state } = app;
  const now = Date.now();
  const add = html`<button class="btn btn-primary" @click=${() => askAdd(app, (name) => test(app, name))}>
    ${icon('plus')}Add a provider…
  </button>`;
  return html`${pageHead(
    'Providers',
    'The accounts that your messages are sent with. The outbox needs none: it writes messages to files.',
    mayChange(state) ? add : nothing,
  )}
  ${state.providers.length ? table(app, now) : loading('Asking hubd for the providers.')} ${sources(app, now)}`;
}

/**
 * @param {any} app
 * @param {number} now
 */
function table(app, now) {
  return html`<table class="table flat providers">
    <thead>
      <tr>
        <th scope="col">Provider</th>
        <th scope="col" class="w-state">State</th>
        <th scope="col">Limits</th>
        <th scope="col" class="num w-lanes">Connections</th>
        <th scope="col" class="num"><span class="vh">Actions</span></th>
      </tr>
    </thead>
    <tbody>
      ${app.state.providers.map((/** @type {any} */ each) => row(app, each, now))}
    </tbody>
  </table>`;
}

/**
 * @param {any} app
 * @param {any} each
 * @param {number} now
 */
export function row(app, each, now) {
  const [shape, tone] = STATES[each.state] ?? ['info', 'draft'];
  const probe = app.state.page.probes?.[each.name];
  const account = probe?.account ?? app.state.page.accounts?.[each.name];
  return html`<tr>
    <td>
      <div class="b">${each.name}</div>
      <div class="t3 s">${each.type}, ${each.channels.map(channelName).join(' and ')}</div>
    </td>
    <td>
      <span class="state ${tone}">${icon(shape)}${sentence(words(each.state))}</span>
      ${each.reason || each.until ? html`<div class="t2 s">${each.reason}${each.until ? ` Tried again at ${time(each.until, now, { seconds: true })}.` : ''}</div>` : nothing}
      ${account?.lines.map((/** @type {string} */ line) => html`<div class="t3 s">${line}</div>`)}
    </td>
    <td class="t2">${each.rate.length ? each.rate.join(', ') : html`<span class="none">none</span>`}</td>
    <td class="num t2">${each.lanes_allowed} of ${each.lanes}</td>
    <td class="num">
      ${
        mayChange(app.state)
          ? html`<button
                class="btn btn-s"
                aria-disabled=${probe?.busy ? 'true' : nothing}
                @click=${() => test(app, each.name)}
              >
                ${probe?.busy ? 'Testing' : 'Test'}
              </button>
              <button class="btn btn-s btn-quiet" @click=${() => turn(app, each)}>
                ${each.state === 'disabled' ? 'Enable' : 'Disable…'}
              </button>
              ${
                each.type === 'outbox'
                  ? nothing
                  : html`<button
                        class="btn btn-s btn-quiet"
                        @click=${() => askChange(app, each, (name) => test(app, name))}
                      >
                        Change…</button
                      ><button class="btn btn-s btn-quiet" @click=${() => askRemove(app, each.name)}>Remove…</button>`
              }`
          : nothing
      }
      ${
        probe && !probe.busy
          ? html`<div class="s ${probe.ok ? 'good' : 'bad'}" role="status">
                ${probe.ok ? 'The login works' : probe.detail || probe.text}
              </div>
              ${probe.text && probe.text !== probe.detail ? html`<div class="words">${probe.text}</div>` : nothing}`
          : nothing
      }
    </td>
  </tr>`;
}

/**
 * Log in and send nothing.
 * @param {any} app
 * @param {string} name
 */
async function test(app, name) {
  const { page } = app.state;
  const set = (/** @type {any} */ probe) => app.patch(page, { probes: { ...page.probes, [name]: probe } });
  set({ busy: true });
  try {
    set(await change(app, 'provider.test', { name }));
  } catch (/** @type {any} */ error) {
    set({ ok: false, detail: error.message, text: '' });
  }
}

/**
 * @param {any} app
 * @param {any} provider
 */
async function turn(app, { name, state }) {
  if (state === 'disabled') {
    await app.attempt(() => change(app, 'provider.enable', { name }));
    app.loadHub();
    return;
  }
  const would = await app.attempt(async () => (await app.call('provider.disable', { name, dry_run: true })).would);
  if (!would) return;
  const campaigns = would.campaigns ?? [];
  app.ask({
    kind: 'ask',
    title: `Send nothing through ${name}?`,
    words: 'Until you enable it again, or hubd is restarted. Its messages wait; none is lost.',
    effects: [
      [
        String(campaigns.length),
        campaigns.length ? `running campaigns wait: ${campaigns.join(', ')}` : 'running campaigns use it',
      ],
    ],
    button: campaigns.length ? `Disable, ${plural(campaigns.length, 'campaign')} wait` : 'Disable',
    act: async () => {
      await change(app, 'provider.disable', { name });
      app.loadHub();
    },
  });
}
