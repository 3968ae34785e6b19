/** Notifications: what campaigns did by themselves and what needs a person, as hubd also mails it. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { change } from '../actions.js';
import { time } from '../format.js';
import { icon } from '../icons.js';
import { empty, loading, pageHead } from '../parts.js';
import { address } from '../router.js';
import { mayChange } from '../store.js';

/** @type {Record<string, [import('../icons.js').IconName, string]>} kind: icon, colour */
const SHAPES = {
  completed: ['done', 'good'],
  failed: ['cross', 'bad'],
  paused: ['pause', 'wait'],
  in_doubt: ['doubt', 'doubt'],
  credits_low: ['coins', 'wait'],
  mailbox_broken: ['tray', 'bad'],
  sink_broken: ['unplugged', 'bad'],
  occurrence_skipped: ['clock', 'wait'],
};

/** @type {import('../pages.js').Page} */
export const notificationsPage = {
  title: () => 'Notifications',
  view: notifications,
  open: (app) => load(app, false),
  event: (app, { type }) => {
    if (type === 'notification.added') app.attempt(() => load(app, false));
  },
};

/**
 * @param {any} app
 * @param {boolean} further the next page instead of the first
 */
async function load(app, further) {
  const { page } = app.state;
  const answer = await app.call('notification.list', further ? { before: page.next } : {});
  const shown = further ? [...page.shown, ...answer.notifications] : answer.notifications;
  app.state.unread = answer.unread;
  app.patch(page, { shown, next: answer.next });
}

/** @param {any} app */
export function notifications(app) {
  const { state } = app;
  const { shown, next } = state.page;
  const read = async () => {
    await change(app, 'notification.read', { through: shown[0].id });
    await load(app, false);
  };
  const button =
    mayChange(state) && shown?.length && state.unread
      ? html`<button class="btn" @click=${() => app.attempt(read)}>${icon('check')}Mark all as read</button>`
      : nothing;
  return html`${pageHead('Notifications', 'What campaigns did automatically, and what needs you.', button)}
  ${
    !shown
      ? loading('Asking hubd for the notifications.')
      : shown.length
        ? html`<ul class="needs">
              ${shown.map((/** @type {any} */ each) => entry(each))}
            </ul>
            ${next ? html`<p class="below"><button class="btn" @click=${() => app.attempt(() => load(app, true))}>Show more</button></p>` : nothing}`
        : empty(
            'Nothing has happened yet that you would want to know',
            html`When a campaign ends, pauses automatically or needs a decision, it is listed here. With
              <code>[notify]</code> in hubd.toml you also get it by email.`,
          )
  }`;
}

/** @param {any} each */
function entry({ kind, about, headline, text, at, read }) {
  const [shape, tone] = SHAPES[kind] ?? ['info', 't2'];
  return html`<li>
    ${icon(shape, tone)}
    <div>
      <div class="what">${headline}${read ? nothing : html`<span class="vh">, unread</span>`}</div>
      <div class="t2 s lines">${text}</div>
    </div>
    <span class="row">
      ${read ? nothing : html`<span class="good s">${icon('dot')}</span>`}
      <span class="t3 s nowrap">${time(at, Date.now())}</span>
      ${link(kind, about)}
    </span>
  </li>`;
}

/**
 * @param {string} kind
 * @param {string} about
 */
function link(kind, about) {
  const to = /** @type {Record<string, string>} */ ({
    credits_low: address('credits', about),
    mailbox_broken: '#/providers',
    sink_broken: '#/sinks',
  })[kind];
  return html`<a class="btn btn-s" href=${to ?? address('campaigns', about)}>Show</a>`;
}
