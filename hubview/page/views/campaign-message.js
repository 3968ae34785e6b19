/** One message of a campaign: its life line, its content, its source, in a drawer beside the list. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { plural, sentence, time, words } from '../format.js';
import { icon } from '../icons.js';
import { loading, state as stateMark } from '../parts.js';
import { address } from '../router.js';
import { SHAPES, kindWords } from './inbox.js';
import { bubble, email, frameOf } from './preview.js';
import { sourceWords } from './sources.js';

/**
 * @param {any} app
 * @param {number} index of its row
 */
export async function openMessage(app, index) {
  const { page } = app.state;
  const row = page.rows.row(index);
  if (!row) return;
  app.patch(page, { message: { id: row.id, index, row, part: page.message?.part ?? 'life' } });
  document.querySelector('.drawer')?.scrollTo(0, 0);
  await app.attempt(async () => {
    const life = await app.call('delivery.get', { id: row.id });
    const frame = await frameOf(app, life.content?.html);
    if (page.message?.id === row.id) app.patch(page, { message: { ...page.message, life, frame } });
  });
}

/** @param {any} app */
export function closeMessage(app) {
  app.patch(app.state.page, { message: null });
  /** @type {HTMLElement | null} */ (document.querySelector('.virtual'))?.focus();
}

/**
 * @param {any} app
 * @param {any} _view
 */
export function drawer(app, _view) {
  const { page } = app.state;
  const { row, life, index, part } = page.message;
  const go = (/** @type {number} */ step) => page.rows.row(index + step) && openMessage(app, index + step);
  const parts = [
    ['life', 'Life line'],
    ['content', 'Content'],
    ['source', 'Source'],
  ];
  return html`<aside class="drawer" aria-labelledby="drawer-title">
    <div class="top">
      <div class="grow">
        <h2 id="drawer-title" class="cut" title=${row.recipient}>${row.recipient}</h2>
        <p class="t2 s">Message ${row.id}</p>
      </div>
      <button
        class="btn btn-quiet btn-s btn-icon"
        data-key="escape"
        aria-label="Close"
        title="Close (Esc)"
        @click=${() => closeMessage(app)}
      >
        ${icon('close')}
      </button>
    </div>
    <div class="row">
      ${stateMark(life?.delivery.state ?? row.state)}<span class="t3 s">${plural(row.attempts, 'attempt')}</span>
    </div>
    <nav class="tabs" aria-label="Message">
      ${parts.map(
        ([name, title]) =>
          html`<button
            aria-current=${name === part ? 'true' : nothing}
            @click=${() => app.patch(page, { message: { ...page.message, part: name } })}
          >
            ${title}
          </button>`,
      )}
    </nav>
    ${life ? MESSAGE_PARTS[part](life, page.message.frame, app.state.providers) : loading('Asking hubd for this message.')}
    <div class="row foot">
      ${
        life?.delivery.message_id
          ? html`<button class="btn btn-s" @click=${() => copy(app, life.delivery.message_id)}>Copy message ID</button>`
          : nothing
      }
      <span class="grow"></span>
      <button class="btn btn-s btn-quiet" aria-label="Previous" data-key="k" @click=${() => go(-1)}>
        ${icon('previous')}<kbd aria-hidden="true">K</kbd>
      </button>
      <button class="btn btn-s btn-quiet" aria-label="Next" data-key="j" @click=${() => go(1)}>
        ${icon('next')}<kbd aria-hidden="true">J</kbd>
      </button>
    </div>
  </aside>`;
}

/** @type {Record<string, (life: any, frame: string, providers: any[]) => unknown>} */
const MESSAGE_PARTS = { life: lifeLine, content: messageContent, source: messageSource };

/** @type {Record<string, [import('../icons.js').IconName, string, string]>} outcome: icon, colour, words */
const OUTCOMES = {
  sent: ['sent', 'sent', 'Accepted'],
  deferred: ['clock', 'wait', 'Deferred'],
  failed: ['cross', 'bad', 'Refused'],
  in_doubt: ['doubt', 'doubt', 'In doubt: no answer came'],
  withdrawn: ['skipped', 't2', 'Withdrawn: it was not sent after all'],
};

/**
 * @param {any} life as delivery.get answers
 * @param {string} [_frame]
 * @param {any[]} [providers]
 */
export function lifeLine({ delivery, attempts, came_back: items = [] }, _frame, providers = []) {
  const now = Date.now();
  return html`<ol class="life">
    <li>
      ${icon('people', 't2')}
      <div class="what">${delivery.single ? 'Asked for' : 'In the audience'}</div>
      <div class="t2 s">${delivery.campaign}</div>
    </li>
    ${attempts.map((/** @type {any} */ each) => attempt(each, now))}
    ${items.map((/** @type {any} */ each) => cameBack(each, providers, now))} ${ending(delivery, now)}
  </ol>`;
}

/**
 * What came back about the message: what, from where, and in which words.
 * @param {any} item
 * @param {any[]} providers
 * @param {number} now
 */
function cameBack(item, providers, now) {
  const [shape, tone] = SHAPES[item.original_kind] ?? ['info', 't2'];
  const said = item.provider_reply || item.text;
  return html`<li>
    ${icon(shape, tone)}<time>${time(item.at, now, { seconds: true })}</time>
    <div class="what ${tone}">
      ${kindWords(item)}${item.code ? html` <span class="t3">${item.code}</span>` : nothing}
    </div>
    <div class="t2 s">
      ${item.from ? `${item.from}, ` : ''}${from(item.mailbox, providers)}.
      <a href=${address('inbox', 'all', String(item.id))}>Inbox</a>
    </div>
    ${said ? html`<div class="words ${item.provider_reply ? '' : 'spoken'}">${said}</div>` : nothing}
  </li>`;
}

/**
 * @param {string} source such as "mailbox bounces"
 * @param {any[]} providers
 */
function from(source, providers) {
  const [name, what] = sourceWords(source, null, providers);
  if (source.startsWith('mailbox ')) return `read from the mailbox ${name}`;
  if (source.startsWith('provider ')) return `read from ${name}, ${what.replace('provider: ', '')}`;
  return source === 'listener' ? 'told to the listener' : `read from ${source}`;
}

/**
 * @param {any} each
 * @param {number} now
 */
function attempt(each, now) {
  const [shape, tone, title] = OUTCOMES[each.outcome ?? ''] ?? [
    'arrow',
    't2',
    each.outcome ? sentence(words(each.outcome)) : 'Waiting for the answer',
  ];
  const code = [each.code || '', each.enhanced].filter(Boolean).join(' ');
  return html`<li>
      ${icon('arrow', 't2')}<time>${time(each.opened_at, now, { seconds: true })}</time>
      <div class="what">Attempt ${each.n} recorded, then sent to ${each.provider}</div>
    </li>
    <li>
      ${icon(shape, tone)}<time>${time(each.closed_at, now, { seconds: true })}</time>
      <div class="what ${tone}">${title}${code ? html` <span class="t3">${code}</span>` : nothing}</div>
      ${each.detail ? html`<div class="t2 s">${each.detail}</div>` : nothing}
      ${each.provider_reply ? html`<div class="words">${each.provider_reply}</div>` : nothing}
    </li>`;
}

/**
 * What comes next, or why nothing does.
 * @param {any} delivery
 * @param {number} now
 */
function ending(delivery, now) {
  /** @type {Record<string, string>} */
  const next = {
    pending: 'Waits for its turn',
    sending: 'Being sent now',
    deferred: `Next attempt ${time(delivery.next_at, now, { seconds: true })}`,
    sent: 'Delivered: not known, because no receipt has come',
    delivered: 'Delivered: the receipt came',
    undelivered: `Not delivered: ${words(delivery.reason)}`,
    failed: `Failed: ${words(delivery.reason)}`,
    skipped: `Skipped: ${words(delivery.reason)}`,
    in_doubt: 'Waits for your decision',
  };
  return html`<li class="next">
    ${icon('open', 't3')}
    <div class="what">${next[delivery.state]}</div>
  </li>`;
}

/**
 * @param {any} life
 * @param {string} frame
 */
function messageContent({ content }, frame) {
  if (!content) return html`<p class="hint">Its content is no longer kept.</p>`;
  if (content.subject === undefined) return bubble(content);
  return html`<div class="stack">
    <h3>${content.subject}</h3>
    ${email({ ...content, frame }, 'desktop')}
  </div>`;
}

/**
 * @param {any} life
 * @param {string} [_frame]
 */
function messageSource({ content, delivery }, _frame) {
  if (delivery.file)
    return html`<p class="t2 s">Written to <code>${delivery.file}</code></p>
      ${source(content)}`;
  return source(content);
}

/** @param {any} content */
function source(content) {
  if (!content?.source) return html`<p class="hint">There is no source: it is kept for email only.</p>`;
  return html`<pre class="file" tabindex="0">${content.source}</pre>
    ${content.source_shortened ? html`<p class="hint">Shortened: the attachments are left out.</p>` : nothing}`;
}

/**
 * @param {any} app
 * @param {string} text
 */
async function copy(app, text) {
  try {
    await navigator.clipboard.writeText(text);
    app.toast('The message ID is in the clipboard');
  } catch {
    app.toast(`The clipboard cannot be used. The message ID is ${text}`);
  }
}
