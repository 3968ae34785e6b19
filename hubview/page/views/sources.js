/** What is read for what comes back: mailboxes, queues and lists of providers, the listener. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { tableOf } from '../config.js';
import { count, plural, sentence, time } from '../format.js';
import { icon } from '../icons.js';
import { unknown } from '../parts.js';
import { mayChange } from '../store.js';

/** @type {Record<string, [import('../icons.js').IconName, string, string]>} state: icon, colour, word */
const STATES = {
  starting: ['clock', 'draft', 'Starting'],
  working: ['done', 'completed', 'Works'],
  retrying: ['clock', 'paused', 'Tried again'],
  broken: ['cross', 'failed', 'Cannot be read'],
};
/** @type {[import('../icons.js').IconName, string, string]} */
const WAITS = ['clock', 'draft', 'Nothing received yet'];
/** @type {[import('../icons.js').IconName, string, string]} */
const NOT_LISTENING = ['cross', 'failed', 'Cannot accept connections'];
// As doctor says it.
const FREE_THE_PORT =
  'Stop the program that uses this port, or change listener.address in hubd.toml and restart hubd; hubd tries again.';
/** @type {[string, string, string][]} kind, one, many */
const ITEMS = [
  ['receipt', 'receipt', 'receipts'],
  ['bounce', 'bounce', 'bounces'],
  ['complaint', 'complaint', 'complaints'],
  ['reply', 'reply', 'replies'],
  ['opt_out', 'opt-out', 'opt-outs'],
  ['opt_in', 'opt-in', 'opt-ins'],
];
/** @type {Record<string, string>} what a provider's own reports are called */
const FEEDS = {
  ses: 'its queue of events (SQS)',
  sns: 'its list of numbers that opted out',
  sendgrid: 'its lists of what came back',
  twilio: 'its list of messages',
};

/**
 * @param {any} app
 * @param {number} now
 */
export function sources(app, now) {
  const { page, status } = app.state;
  if (!status) return nothing;
  const read = status.mailboxes ?? [];
  const listener = tableOf(page.config, 'listener');
  return html`<section class="sec" aria-labelledby="h-sources">
    <div class="sec-head">
      <h2 id="h-sources">What comes back</h2>
      <span class="aside">Receipts, bounces, complaints, replies and opt-outs are read from here.</span>
    </div>
    ${read.length ? table(app, read, now) : none()} ${page.config ? listening(app, listener, read) : nothing}
  </section>`;
}

function none() {
  return html`<p class="hint">
    Nothing is read, so nobody knows what became of a message after it was sent. Name a mailbox for bounces and replies
    in hubd.toml, as <code>[mailboxes.bounces]</code>, or a queue of your provider.
  </p>`;
}

/**
 * @param {any} app
 * @param {any[]} read
 * @param {number} now
 */
function table(app, read, now) {
  return html`<table class="table flat accounts">
    <thead>
      <tr>
        <th scope="col">Read from</th>
        <th scope="col">State</th>
        <th scope="col">Since hubd started</th>
        <th scope="col" class="w-when">Read last</th>
        <th scope="col" class="num w-acts"><span class="vh">Actions</span></th>
      </tr>
    </thead>
    <tbody>
      ${read.map((each) => sourceRow(app, each, now))}
    </tbody>
  </table>`;
}

/**
 * A source's own name without its kind, and what it is.
 * @param {string} full such as "mailbox bounces", "provider ses" or "listener"
 * @param {any} config
 * @param {any[]} providers
 * @returns {[string, string]}
 */
export function sourceWords(full, config, providers) {
  const at = full.indexOf(' ');
  const [kind, name] = at < 0 ? [full, ''] : [full.slice(0, at), full.slice(at + 1)];
  if (kind === 'mailbox') {
    const { folder, host, username } = tableOf(config, 'mailboxes', name);
    return [name, host ? `mailbox: ${folder} of ${username} at ${host}` : 'mailbox'];
  }
  if (kind === 'provider') {
    const type = providers.find((each) => each.name === name)?.type ?? '';
    return [name, `provider: ${FEEDS[type] ?? 'what it reports'}`];
  }
  if (kind === 'listener') return ['Listener', 'unsubscribe links and webhooks of providers'];
  return [full, ''];
}

/**
 * @param {any} app
 * @param {any} each
 * @param {number} now
 */
export function sourceRow(app, each, now) {
  const { name, state, reason, read_at: read, next_at: next } = each;
  const waits = name === 'listener' && state === 'starting';
  const notListening = name === 'listener' && state === 'broken';
  const [shape, tone, words] = waits
    ? WAITS
    : notListening
      ? NOT_LISTENING
      : (STATES[state] ?? ['info', 'draft', sentence(state)]);
  const [title, what] = sourceWords(name, app.state.page.config, app.state.providers);
  const probe = app.state.page.probes?.[name];
  return html`<tr>
    <td>
      <div class="b cut" title=${title}>${title}</div>
      <div class="t3 s far">${what}</div>
    </td>
    <td>
      <span class="state ${tone}">${icon(shape)}${words}</span>
      ${reason ? html`<div class="t2 s far">${reason}</div>` : nothing}
      ${notListening ? html`<div class="t2 s far">${FREE_THE_PORT}</div>` : nothing}
      ${reason && next ? html`<div class="t3 s">Tried again at ${time(next, now, { seconds: true })}.</div>` : nothing}
    </td>
    <td class="t2 s">${booked(each)}</td>
    <td class="nowrap">${read ? time(read, now) : unknown('it has never been read successfully')}</td>
    <td class="num">
      ${
        mayChange(app.state) && name.startsWith('mailbox ')
          ? html`<button
              class="btn btn-s"
              aria-label="Test ${title}"
              aria-disabled=${probe?.busy ? 'true' : nothing}
              @click=${() => testMailbox(app, name)}
            >
              ${probe?.busy ? 'Testing' : 'Test'}
            </button>`
          : nothing
      }
      ${probe && !probe.busy ? html`<div class="s far ${probe.ok ? 'good' : 'bad'}" role="status">${probeWords(probe)}</div>` : nothing}
    </td>
  </tr>`;
}

/**
 * What it has reported since the daemon was started.
 * @param {{items: Record<string, number>, unmatched: number, unreadable: number}} source
 */
export function booked({ items, unmatched, unreadable }) {
  const told = ITEMS.filter(([kind]) => items[kind] > 0).map(([kind, one, many]) => plural(items[kind], one, many));
  if (unmatched) told.push(`${count(unmatched)} of them not about a message of yours`);
  if (unreadable) told.push(`${count(unreadable)} that could not be read`);
  return told.length ? told.join(', ') : 'nothing came';
}

/** @param {{ok: boolean, text: string, mails: number, idle: boolean}} probe */
function probeWords({ ok, text, mails, idle }) {
  if (!ok) return text;
  return `The login works. ${plural(mails, 'mail')} in the folder; ${idle ? 'new ones are announced at once' : 'hubd checks once a minute'}`;
}

/**
 * Log in and read nothing.
 * @param {any} app
 * @param {string} full
 */
async function testMailbox(app, full) {
  const { page } = app.state;
  const set = (/** @type {any} */ probe) => app.patch(page, { probes: { ...page.probes, [full]: probe } });
  set({ busy: true });
  try {
    set(await app.call('mailbox.test', { name: full.slice('mailbox '.length) }));
  } catch (/** @type {any} */ error) {
    set({ ok: false, text: error.message });
  }
}

/**
 * Whether the world can reach hubd, and for what.
 * @param {any} app
 * @param {Record<string, any>} settings [listener] of hubd.toml
 * @param {any[]} read
 */
export function listening(app, { address, public_url: url, unsubscribe }, read) {
  if (!address)
    return html`<p class="hint below">
      The listener is off: nobody outside can reach hubd. Providers are asked instead, and unsubscribe links lead to the
      page that each campaign names.
    </p>`;
  const hooks = Object.entries(app.state.page.webhooks ?? {});
  const works = read.some((/** @type {any} */ each) => each.name === 'listener' && each.state !== 'broken');
  return html`<dl class="pairs below">
    <dt>Listener</dt>
    <dd>${works ? 'on' : 'not working'}, at ${address}, reached as <span class="mono">${url}</span></dd>
    <dt>Unsubscribe links</dt>
    <dd>${unsubscribe ? html`on, for campaigns with <code>unsubscribe = "listener"</code>` : 'off'}</dd>
    ${hooks.map(
      ([name, hook]) =>
        html`<dt>Webhook of ${name}</dt>
          <dd class="mono">${hook}</dd>`,
    )}
  </dl>`;
}
