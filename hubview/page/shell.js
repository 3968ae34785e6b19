/** What is around every page: the side bar, the state of the connection, the message at the bottom. Pure. */

import { html, nothing } from './vendor/lit-html/lit-html.js';
import { span, time } from './format.js';
import { icon } from './icons.js';
import { isLive, mayChange, needs } from './store.js';

/** @type {[string, string, import('./icons.js').IconName, string[]][]} address, words, icon, names of its pages */
const WORK = [
  ['#/', 'Campaigns', 'list', ['home', 'campaign', 'new']],
  ['#/inbox', 'Inbox', 'tray', ['inbox']],
  ['#/reports', 'Reports', 'chart', ['reports']],
  ['#/notifications', 'Notifications', 'bell', ['notifications']],
];
/** @type {[string, string, import('./icons.js').IconName, string[]][]} */
const SET_UP = [
  ['#/contacts', 'Contacts', 'people', ['contacts', 'import']],
  ['#/providers', 'Providers', 'plug', ['providers']],
  ['#/sinks', 'Sinks', 'share', ['sinks']],
  ['#/suppressions', 'Suppressions', 'barred', ['suppressions']],
  ['#/credits', 'Credits', 'coins', ['credits']],
  ['#/settings', 'Settings', 'sliders', ['settings']],
];
const FOR_OPERATORS = ['inbox', 'contacts', 'suppressions'];

/**
 * @param {any} app
 * @param {unknown} content the page
 */
export function shell(app, content) {
  const { state } = app;
  const opened = state.route.name;
  const primary = opened === 'home' && (!state.loaded || state.campaigns.size > 0) ? 'btn-primary' : '';
  return html`<div class="app">
    <nav class="side" aria-label="Main">
      <a class="brand" href="#/" aria-label="MessageHub">${icon('brand')}<span>MessageHub</span></a>
      ${
        mayChange(state)
          ? html`<a class="btn ${primary}" href="#/new"
              >${icon('plus')}<span>New<span class="more"> campaign</span></span
              ><kbd aria-hidden="true">N</kbd></a
            >`
          : nothing
      }
      <div class="nav" role="group" aria-label="Work">
        ${WORK.filter(([, , , names]) => mayChange(state) || !FOR_OPERATORS.includes(names[0])).map((item) => link(state, opened, item))}
      </div>
      <div class="nav" role="group" aria-label="Set up">
        ${SET_UP.filter(([, , , names]) => mayChange(state) || !FOR_OPERATORS.includes(names[0])).map((item) =>
          link(state, opened, item),
        )}
      </div>
      ${hub(state, Date.now())}
    </nav>
    <main id="main" tabindex="-1">
      <div class="wide ${isLive(state) ? '' : 'stale'}">${lost(app, Date.now())}${content}</div>
    </main>
  </div>`;
}

/**
 * @param {import('./store.js').State} state
 * @param {string} opened
 * @param {[string, string, import('./icons.js').IconName, string[]]} item
 */
function link(state, opened, [href, words, shape, names]) {
  const waiting = names[0] === 'home' ? needs(state).length : names[0] === 'notifications' ? state.unread : 0;
  return html`<a href=${href} aria-current=${names.includes(opened) ? 'page' : nothing}
    >${icon(shape)}${words}${
      waiting
        ? html`<span class="count need"
            >${waiting}<span class="vh">${names[0] === 'home' ? ' need you' : ' unread'}</span></span
          >`
        : nothing
    }</a
  >`;
}

/**
 * The connection, and which hub it leads to.
 * @param {any} state
 * @param {number} now
 */
export function hub(state, now) {
  if (!isLive(state)) {
    return html`<div class="hub" role="status">
      <strong class="wait">${icon('unplugged')}${state.link.state === 'lost' ? 'Not connected' : 'Connecting'}</strong>
      <span>${state.link.lastLive ? `since ${time(state.link.lastLive, now, { seconds: true })}` : 'to hubd'}</span>
    </div>`;
  }
  const { server_version: version, started_at: started, state_dir: folder } = state.hello;
  const up = started ? `up ${span((now - Date.parse(started)) / 1000)}` : '';
  return html`<div class="hub" role="status" title="${state.where}&#10;${folder}">
    <strong class="good"
      >${icon('dot')}<span class="word ${mayChange(state) ? 'quiet' : ''}"
        >${mayChange(state) ? 'Connected' : 'View only'}</span
      ></strong
    >
    <span class="cut">${short(state.where)}</span>
    <span>hubd ${version}${up ? `, ${up}` : ''}</span>
  </div>`;
}

/** The path of the socket, from its end: that is where daemons differ. @param {string} where */
function short(where) {
  const path = where.split(' ')[0];
  return path.length > 27 ? `…${path.slice(-26)}` : path;
}

/**
 * The connection is lost: why, since when the page is out of date, and when it is tried again.
 * @param {any} app
 * @param {number} now
 */
function lost(app, now) {
  const { link: connection, loaded } = app.state;
  if (connection.state !== 'lost') return nothing;
  const { error, retryAt, lastLive, starting } = connection;
  const seconds = Math.max(0, Math.ceil((retryAt - now) / 1000));
  return html`<div class="lost" role="alert">
    ${icon('unplugged')}
    <div>
      <b class="b">${error?.message ?? 'hubd does not answer.'}</b>
      ${error?.hint ? html`<div class="s t2">${error.hint}</div>` : nothing}
      <div class="s t2">
        ${
          loaded && lastLive
            ? html`These figures are from ${time(lastLive, now, { seconds: true })}. Nothing is lost: what hubd sends is
              recorded before it is sent.`
            : nothing
        }
        ${starting ? 'hubd is starting.' : `Next try in ${seconds} s.`}
      </div>
    </div>
    <div class="actions">
      ${
        error?.data?.can_enable
          ? html`<label class="check s"
              ><input
                type="checkbox"
                .checked=${connection.atLogin ?? false}
                @change=${(/** @type {any} */ event) => (app.state.link.atLogin = event.target.checked)}
              /><span>Also start it when I log in</span></label
            >`
          : nothing
      }
      <button class="btn btn-s" @click=${() => app.client.retry()}>Try now</button>
      ${
        error?.data?.can_start
          ? html`<button
              class="btn btn-s btn-primary"
              aria-disabled=${starting ? 'true' : nothing}
              @click=${() => !starting && app.startDaemon(app.state.link.atLogin ?? false)}
            >
              ${starting ? 'Starting hubd' : 'Start hubd'}
            </button>`
          : nothing
      }
    </div>
  </div>`;
}

/** @param {any} app */
export function toastOf(app) {
  const { toast } = app.state;
  if (!toast) return nothing;
  return html`<div class="toast ${toast.kind}" role="status">
    <div>${toast.words}${toast.hint ? html`<div class="s">${toast.hint}</div>` : nothing}</div>
    <button class="btn btn-s btn-icon" aria-label="Close this message" @click=${() => app.closeToast()}>
      ${icon('close')}
    </button>
  </div>`;
}
