/** The inbox: what came back, replies to answer and to decide about, and whether it is still being read. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { change } from '../actions.js';
import { plural, sentence, time, words } from '../format.js';
import { icon } from '../icons.js';
import { empty, loading, note } from '../parts.js';
import { address } from '../router.js';
import { mayChange } from '../store.js';

const PAGE = 100;
/** @type {[string, string][]} kind, what it is called */
const KINDS = [
  ['', 'All'],
  ['waiting', 'To decide'],
  ['reply', 'Replies'],
  ['bounce', 'Bounces'],
  ['complaint', 'Complaints'],
  ['opt_out', 'Opt-outs'],
  ['unmatched', 'Unmatched'],
];
/** @type {Record<string, [import('../icons.js').IconName, string]>} kind: icon, colour */
export const SHAPES = {
  reply: ['mail', 't2'],
  bounce: ['cross', 'bad'],
  complaint: ['warning', 'bad'],
  opt_out: ['barred', 'wait'],
  opt_in: ['done', 'good'],
};
const COMES_BACK = /^(reply|delivery\.(bounced|complained)|mailbox)\b/;

/** @type {import('../pages.js').Page} */
export const inboxPage = {
  title: () => 'Inbox',
  view: inbox,
  open: load,
  keeps: (before, next) => before.name === next.name && before.params.kind === next.params.kind,
  event: (app, { type }) => {
    const { page } = app.state;
    if (!COMES_BACK.test(type) || page.loading) return;
    page.loading = true; // one request for a hundred that came back together
    setTimeout(() => page === app.state.page && app.attempt(() => load(app)), 500);
  },
};

/** @param {any} app */
async function load(app) {
  const { page, route } = app.state;
  const { kind, item } = route.params;
  const asked = { limit: PAGE, ...(kind && kind !== 'all' ? { kind } : {}) };
  const [{ items, next }, { mailboxes }] = await Promise.all([app.call('inbox.list', asked), app.call('mailbox.list')]);
  app.patch(page, { items, next, mailboxes, loading: false });
  if (item) await show(app, Number(item));
}

/** @param {any} app */
async function loadMore(app) {
  const { page, route } = app.state;
  const { kind } = route.params;
  const asked = { limit: PAGE, before: page.next, ...(kind && kind !== 'all' ? { kind } : {}) };
  const { items, next } = await app.call('inbox.list', asked);
  app.patch(page, { items: [...page.items, ...items], next });
}

/**
 * @param {any} app
 * @param {number} id
 */
async function show(app, id) {
  const { page } = app.state;
  const { item } = await app.call('inbox.get', { id });
  app.patch(page, { shown: item, answer: page.shown?.id === id ? page.answer : '' });
}

/** @param {any} app */
export function inbox(app) {
  const { page, route } = app.state;
  const kind = route.params.kind ?? 'all';
  return html`<div class="head">
      <div class="grow">
        <h1>Inbox</h1>
        <p class="sub">${page.mailboxes ? readFrom(page.mailboxes, Date.now()) : 'What came back.'}</p>
      </div>
    </div>
    <nav class="tabs" aria-label="Kind">
      ${KINDS.map(
        ([name, title]) =>
          html`<a
            href=${address('inbox', ...(name ? [name] : []))}
            aria-current=${kind === (name || 'all') ? 'true' : nothing}
            >${title}</a
          >`,
      )}
    </nav>
    ${page.items ? content(app, kind) : loading('Asking hubd for what came back.')}`;
}

/**
 * @param {any} app
 * @param {string} kind
 */
function content(app, kind) {
  const { items, mailboxes, next, shown } = app.state.page;
  if (!items.length) return nothingThere(kind, mailboxes);
  return html`<div class="inbox">
    <ul class="ilist" aria-label="What came back">
      ${items.map((/** @type {any} */ each) => entry(app, each, kind, shown?.id))}
      ${next ? html`<li class="below"><button class="btn" @click=${() => app.attempt(() => loadMore(app))}>Show more</button></li>` : nothing}
    </ul>
    ${shown ? letter(app, shown) : html`<div class="read"><p class="hint">Choose one to read it.</p></div>`}
  </div>`;
}

/**
 * @param {string} kind
 * @param {any[]} mailboxes
 */
function nothingThere(kind, mailboxes) {
  if (!mailboxes.length)
    return empty(
      'No replies or bounces are read',
      html`Name a mailbox for bounces and replies in hubd.toml, as <code>[mailboxes.bounces]</code>, or let a provider
        report them. Then bounces, complaints, replies and opt-outs are listed here.`,
    );
  return empty(kind === 'all' ? 'Nothing has come back yet' : 'There is nothing of this kind', '');
}

/**
 * Where it is read from, and whether that works.
 * @param {any[]} mailboxes
 * @param {number} now
 */
export function readFrom(mailboxes, now) {
  const broken = mailboxes.filter(({ state }) => state === 'broken' || state === 'retrying');
  const read = mailboxes
    .map(({ read_at: at }) => at)
    .filter(Boolean)
    .sort();
  const sources = plural(mailboxes.length, 'source');
  const last = read.length ? `Last read ${time(read[read.length - 1], now)} from ${sources}.` : `Read from ${sources}.`;
  return html`${mailboxes.length ? last : 'What came back.'}
  ${broken.map(({ name, reason }) => html`<span class="wait">${brokenSource(name)}: ${reason}. </span>`)}`;
}

/**
 * @param {any} app
 * @param {any} item
 * @param {string} kind
 * @param {number | undefined} shown
 */
function entry(app, item, kind, shown) {
  const [shape, tone] = SHAPES[item.original_kind] ?? ['info', 't2'];
  return html`<li>
    <a
      class=${item.decision === 'waiting' ? 'new' : nothing}
      href=${address('inbox', kind, String(item.id))}
      aria-current=${item.id === shown ? 'true' : nothing}
      @click=${() => app.attempt(() => show(app, item.id))}
    >
      ${icon(shape, tone)}<span class="from cut">${item.from || 'unknown sender'}</span>
      <span class="t3 s nowrap">${time(item.at, Date.now())}</span>
      <span class="cut s rest">${headline(item)}</span>
      <span class="cut s t3 rest">${(item.text || item.provider_reply).split('\n')[0]}</span>
    </a>
  </li>`;
}

/**
 * Its kind, in words.
 * @param {{original_kind: string, reason: string}} item
 */
export function kindWords({ original_kind: original, reason }) {
  const name = /** @type {Record<string, string>} */ ({
    reply: 'Replied',
    bounce: `Bounced${reason ? `: ${words(reason)}` : ''}`,
    complaint: 'Reported as spam',
    opt_out: 'Opted out',
    opt_in: 'Wants messages again',
  })[original];
  return name ?? sentence(words(original));
}

/**
 * What it is, in words.
 * @param {any} item
 */
export function headline(item) {
  const { kind, original_kind: original, subject, campaign, decision, matched_by: known } = item;
  if (original === 'reply') {
    const about = subject || campaign || 'Reply';
    return decision === 'waiting' ? `To decide: ${about}` : about;
  }
  const unmatched = known ? ', about a deleted message of yours' : ', not about a message of yours';
  return `${kindWords(item)}${kind === 'unmatched' ? unmatched : campaign ? `, ${campaign}` : ''}`;
}

/**
 * @param {any} app
 * @param {any} item
 */
function letter(app, item) {
  const about = item.campaign
    ? html`<p class="t3 s">
        about <a href=${address('campaigns', item.campaign, 'recipients')}>message ${item.delivery_id}</a> of
        <a href=${address('campaigns', item.campaign)}>${item.campaign}</a>
      </p>`
    : html`<p class="t3 s">
        ${item.delivery_id ? `about message ${item.delivery_id}` : 'not about a message that hubd knows'}
      </p>`;
  const advice = item.advice ? html`<p class="t2">${item.advice}</p>` : nothing;
  return html`<article class="read" aria-labelledby="h-item">
    <h2 id="h-item">${headline(item)}</h2>
    <p class="t2">
      ${item.from || 'unknown sender'}, ${time(item.at, Date.now(), { seconds: true })}, read from ${item.mailbox}
    </p>
    ${about} ${advice} ${item.decision ? decision(app, item) : nothing}
    ${item.provider_reply ? html`<p class="words">${item.provider_reply}</p>` : nothing}
    ${item.text ? html`<div class="body">${item.text}</div>` : nothing}
    ${
      item.quoted
        ? html`<details class="below">
            <summary class="t2 s">What it answers</summary>
            <div class="quote">${item.quoted}</div>
          </details>`
        : nothing
    }
    ${canAnswer(app, item) ? answer(app, item) : nothing}
    ${item.answer_id ? html`<p class="t3 s">You answered with message ${item.answer_id}.</p>` : nothing}
  </article>`;
}

/**
 * @param {any} app
 * @param {any} item
 */
function decision(app, item) {
  if (item.decision !== 'waiting')
    return html`<p class="t2 s">
      ${item.decision === 'opt_out' ? 'You took it for an opt-out.' : 'You decided to continue sending.'}
    </p>`;
  const decide = (/** @type {string} */ what) =>
    app.attempt(async () => {
      await change(app, 'inbox.decide', { id: item.id, decision: what });
      await load(app);
      await show(app, item.id);
    });
  return note(
    'wait',
    'doubt',
    html`<b class="b">Is this an opt-out?</b> An opt-out word is in the reply, with other words around it. What waits
      for this person is held until you decide.`,
    mayChange(app.state)
      ? html`<button class="btn btn-s" @click=${() => decide('opt_out')}>Opt out</button>
          <button class="btn btn-s" @click=${() => decide('continue')}>Keep subscribed</button>`
      : nothing,
  );
}

/**
 * @param {any} app
 * @param {any} item
 */
function canAnswer(app, item) {
  return mayChange(app.state) && item.original_kind === 'reply' && item.delivery_id !== null;
}

/**
 * @param {any} app
 * @param {any} item
 */
function answer(app, item) {
  const { page } = app.state;
  const send = () =>
    app.attempt(async () => {
      await change(app, 'inbox.reply', { id: item.id, text: page.answer });
      app.patch(page, { answer: '' });
      app.toast(`Your answer to ${item.from} is on its way`);
      await show(app, item.id);
    });
  return html`<div class="field below">
    <label for="answer">Answer ${item.from}</label>
    <textarea
      class="input answer"
      id="answer"
      .value=${page.answer ?? ''}
      @input=${(/** @type {any} */ event) => {
        page.answer = event.target.value;
        app.draw(true);
      }}
    ></textarea>
    <div class="row">
      <span class="hint grow">One message, to this person only, through the provider that sent the original.</span>
      <button
        class="btn btn-primary"
        aria-disabled=${page.answer?.trim() ? nothing : 'true'}
        @click=${() => page.answer?.trim() && send()}
      >
        Send the answer
      </button>
    </div>
  </div>`;
}

/** @param {string} name of a source that is in trouble */
export function brokenSource(name) {
  return name === 'listener' ? 'The listener cannot accept connections' : `${sentence(name)} cannot be read`;
}
