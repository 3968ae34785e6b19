/** Suppressions: addresses that never get a message again, and why. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { change } from '../actions.js';
import { channelName, sentence, time, words } from '../format.js';
import { icon } from '../icons.js';
import { empty, field, loading, pageHead } from '../parts.js';

const PAGE = 200;

/** @type {import('../pages.js').Page} */
export const suppressionsPage = {
  title: () => 'Suppressions',
  view: suppressions,
  open: (app) => load(app, false),
};

/**
 * @param {any} app
 * @param {boolean} further the next page instead of the first
 */
async function load(app, further) {
  const { page } = app.state;
  const answer = await app.call('suppression.list', { limit: PAGE, after: further ? page.next : null });
  app.patch(page, { rows: further ? [...page.rows, ...answer.suppressions] : answer.suppressions, next: answer.next });
}

/** @param {any} app */
export function suppressions(app) {
  const { rows, next } = app.state.page;
  const add = html`<button class="btn btn-primary" @click=${() => askSuppress(app)}>
    ${icon('plus')}Suppress an address…
  </button>`;
  return html`${pageHead('Suppressions', 'These addresses get no message, whatever list they are on. It is checked again right before each message leaves.', rows?.length ? add : nothing)}
  ${
    !rows
      ? loading('Asking hubd for the suppressed addresses.')
      : rows.length
        ? html`<table class="table">
              <thead>
                <tr>
                  <th scope="col">Address</th>
                  <th scope="col">Channel</th>
                  <th scope="col">Reason</th>
                  <th scope="col">From</th>
                  <th scope="col">Since</th>
                  <th><span class="vh">Action</span></th>
                </tr>
              </thead>
              <tbody>
                ${rows.map((/** @type {any} */ each) => row(app, each))}
              </tbody>
            </table>
            ${next ? html`<p class="below"><button class="btn" @click=${() => app.attempt(() => load(app, true))}>Show more</button></p>` : nothing}`
        : empty(
            'Nobody is suppressed',
            'Addresses that unsubscribe, reply STOP or do not exist are added here automatically. To add a file of addresses, use hubctl suppress import.',
            add,
          )
  }`;
}

/**
 * @param {any} app
 * @param {any} each
 */
export function row(app, each) {
  return html`<tr>
    <td class="b cut">${each.address}</td>
    <td class="t2">${channelName(each.channel)}</td>
    <td class="t2">${each.reason ? sentence(words(each.reason)) : html`<span class="none">-</span>`}</td>
    <td class="t2">${words(each.source)}</td>
    <td class="t2 nowrap">${time(each.created_at, Date.now())}</td>
    <td class="num"><button class="btn btn-s btn-quiet" @click=${() => askAllow(app, each)}>Allow again…</button></td>
  </tr>`;
}

/** @param {any} app */
function askSuppress(app) {
  const own = { address: '', reason: '' };
  app.ask({
    kind: 'ask',
    title: 'Suppress an address',
    words: 'Nothing more is sent to it; messages that wait for it are skipped.',
    get body() {
      return html`<div class="stack">
        ${field({
          id: 'address',
          label: 'Email address or phone number',
          control: html`<input
            class="input"
            id="address"
            autofocus
            .value=${own.address}
            @input=${(/** @type {any} */ event) => (own.address = event.target.value)}
          />`,
        })}
        ${field({
          id: 'reason',
          label: 'Why (for your records)',
          control: html`<input
            class="input"
            id="reason"
            .value=${own.reason}
            @input=${(/** @type {any} */ event) => (own.reason = event.target.value)}
          />`,
        })}
      </div>`;
    },
    button: 'Suppress it',
    act: async () => {
      const address = own.address.trim();
      await change(app, 'suppression.add', {
        channel: address.includes('@') ? 'email' : 'sms',
        address,
        reason: own.reason.trim(),
      });
      await load(app, false);
    },
  });
}

/**
 * @param {any} app
 * @param {any} entry
 */
function askAllow(app, { channel, address, reason }) {
  app.ask({
    kind: 'ask',
    danger: true,
    title: `Send to ${address} again?`,
    words: /unsub|opted|complaint/.test(reason)
      ? 'This person asked not to get messages. Sending to them again may be against the law.'
      : 'From the next message on, it is treated like any other address.',
    button: 'Allow messages',
    act: async () => {
      await change(app, 'suppression.remove', { channel, address });
      await load(app, false);
    },
  });
}
