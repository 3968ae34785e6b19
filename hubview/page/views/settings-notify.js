/** Who is told when a campaign ends or something needs a person: this desktop, and people by email. */

import { html } from '../vendor/lit-html/lit-html.js';
import { tableOf } from '../config.js';
import { permission } from '../desktop.js';
import { words } from '../format.js';

/** @param {any} app */
export function telling(app) {
  const { page, notifies } = app.state;
  return html`<section class="sec" aria-labelledby="h-notify">
    <div class="sec-head">
      <h2 id="h-notify">When a campaign ends or something needs you</h2>
      <span class="aside"><a href="#/notifications">Notifications</a> has all of them</span>
    </div>
    <dl class="pairs">
      <dt>This desktop</dt>
      <dd>${desktop(app, notifies, page.permission ?? permission())}</dd>
      <dt>By email</dt>
      <dd>${page.config ? mailed(tableOf(page.config, 'notify')) : 'asking hubd'}</dd>
    </dl>
  </section>`;
}

/**
 * @param {any} app
 * @param {boolean} notifies whether hubview has a program for it
 * @param {string} allowed as `permission` says
 */
export function desktop(app, notifies, allowed) {
  if (notifies) return 'shows a notification as long as hubview is open.';
  if (allowed === 'granted') return 'This browser shows a notification while you look elsewhere and this page is open.';
  if (allowed === 'denied') return 'This browser blocks notifications from this page; allow them in its settings.';
  if (!allowed) return html`shows none. On Linux, install <code>notify-send</code> (libnotify-bin).`;
  const ask = async () => app.patch(app.state.page, { permission: await Notification.requestPermission() });
  return html`<button class="btn btn-s" @click=${ask}>Allow notifications</button>
    <span class="hint">while you look elsewhere and this page is open</span>`;
}

/**
 * @param {Record<string, any>} notify the table of hubd.toml
 */
export function mailed({ email, provider, on }) {
  if (!email?.length) return html`nobody; add addresses under <code>[notify]</code> in hubd.toml.`;
  const kinds = (on ?? []).map((/** @type {string} */ each) => words(each)).join(', ');
  return `${email.join(', ')}, through ${provider}${kinds ? `, about: ${kinds}` : ''}.`;
}
