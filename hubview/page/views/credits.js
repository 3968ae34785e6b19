/** Credits: the accounts that campaigns and one-off messages are paid from, and what happened to each. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { change } from '../actions.js';
import { count, plural, sentence, time, words } from '../format.js';
import { icon } from '../icons.js';
import { empty, field, loading, pageHead } from '../parts.js';
import { address } from '../router.js';
import { mayChange } from '../store.js';

/** @type {import('../pages.js').Page} */
export const creditsPage = {
  title: ({ account }) => account ?? 'Credits',
  view: credits,
  open: (app) => load(app),
  event: (app, { type }) => {
    if (type.startsWith('credits.')) app.attempt(() => load(app));
  },
};

/** @param {any} app */
async function load(app) {
  const { page, route } = app.state;
  const { accounts } = await app.call('credits.list');
  const { account } = route.params;
  const history = account && (await app.call('credits.history', { account }));
  app.patch(page, { accounts, history });
}

/**
 * The next lines of the log.
 * @param {any} app
 */
async function loadMore(app) {
  const { page } = app.state;
  const { account, next: before } = page.history;
  const further = await app.call('credits.history', { account: account.name, before });
  app.patch(page, { history: { ...further, entries: [...page.history.entries, ...further.entries] } });
}

/** @param {any} app */
export function credits(app) {
  const { page } = app.state;
  const grant = mayChange(app.state)
    ? html`<button class="btn btn-primary" @click=${() => askGrant(app, page.history?.account.name)}>
        ${icon('plus')}Grant credits…
      </button>`
    : nothing;
  if (!page.accounts) return html`${pageHead('Credits', '')}${loading('Asking hubd for the accounts.')}`;
  if (page.history) return one(app, page.history, grant);
  return html`${pageHead('Credits', 'A campaign that names an account reserves a credit for each email or SMS segment before it starts.', page.accounts.length ? grant : nothing)}
  ${
    page.accounts.length
      ? html`<table class="table">
          <thead>
            <tr>
              <th scope="col">Account</th>
              <th scope="col" class="num">Available</th>
              <th scope="col" class="num">Held</th>
              <th scope="col" class="num">Spent</th>
              <th scope="col" class="num">Granted</th>
            </tr>
          </thead>
          <tbody>
            ${page.accounts.map(accountRow)}
          </tbody>
        </table>`
      : empty(
          'There is no credit account',
          'Credits are optional. Grant some to an account, and name it in a campaign as credits: the campaign then never sends more than the account has.',
          grant,
        )
  }`;
}

/** @param {any} account */
function accountRow({ name, granted, held, spent, available }) {
  return html`<tr>
    <td><a class="b" href=${address('credits', name)}>${name}</a></td>
    <td class="num ${available ? '' : 'bad'}">${count(available)}</td>
    <td class="num t2">${count(held)}</td>
    <td class="num t2">${count(spent)}</td>
    <td class="num t2">${count(granted)}</td>
  </tr>`;
}

/**
 * @param {any} app
 * @param {any} history
 * @param {unknown} grant
 */
function one(app, { account, campaigns, entries, next }, grant) {
  const now = Date.now();
  return html`<div class="crumb"><a href="#/credits">Credits</a> /</div>
    ${pageHead(account.name, `${plural(account.available, 'credit')} available`, grant)}
    <dl class="kpis">
      ${[
        ['Available', account.available],
        ['Held', account.held],
        ['Spent', account.spent],
        ['Granted', account.granted],
      ].map(
        ([name, value]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${count(Number(value))}</dd>
          </div>`,
      )}
    </dl>
    ${
      campaigns.length
        ? html`<section class="sec" aria-labelledby="h-holds">
            <div class="sec-head"><h2 id="h-holds">Campaigns</h2></div>
            <table class="table">
              <thead>
                <tr>
                  <th scope="col">Campaign</th>
                  <th scope="col" class="num">Held</th>
                  <th scope="col" class="num">Spent</th>
                </tr>
              </thead>
              <tbody>
                ${campaigns.map(
                  (/** @type {any} */ { campaign, held, spent }) =>
                    html`<tr>
                      <td>
                        ${campaign ? html`<a href=${address('campaigns', campaign)}>${campaign}</a>` : 'one-off messages'}
                      </td>
                      <td class="num">${count(held)}</td>
                      <td class="num">${count(spent)}</td>
                    </tr>`,
                )}
              </tbody>
            </table>
          </section>`
        : nothing
    }
    <section class="sec" aria-labelledby="h-log">
      <div class="sec-head"><h2 id="h-log">What happened</h2></div>
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col"><span class="vh">What</span></th>
            <th scope="col" class="num">Credits</th>
            <th scope="col">Campaign</th>
            <th scope="col">Note</th>
          </tr>
        </thead>
        <tbody>
          ${entries.map(
            (/** @type {any} */ each) =>
              html`<tr>
                <td class="t2 nowrap">${time(each.at, now)}</td>
                <td>${sentence(words(each.kind))}</td>
                <td class="num">${count(each.credits)}</td>
                <td>
                  ${each.campaign ? html`<a href=${address('campaigns', each.campaign)}>${each.campaign}</a>` : html`<span class="none">-</span>`}
                </td>
                <td class="t2">${each.note || html`<span class="none">-</span>`}</td>
              </tr>`,
          )}
        </tbody>
      </table>
      ${next ? html`<p class="below"><button class="btn" @click=${() => app.attempt(() => loadMore(app))}>Show more</button></p>` : nothing}
    </section>`;
}

/**
 * A whole number as people write it, with or without something between its thousands; NaN for anything else.
 * @param {string} text
 */
export function wholeNumber(text) {
  const plain = text.trim().replace('\u2212', '-');
  if (!/^-?(\d+|\d{1,3}([\s,.'\u2019]\d{3})+)$/.test(plain)) return NaN;
  return Number(plain.replace(/[^\d-]/g, ''));
}

/**
 * @param {any} app
 * @param {string} [account]
 * @param {{credits?: number, then?: () => Promise<unknown>}} [how] how many to begin with, and what follows
 */
export function askGrant(app, account = '', { credits: wanted = 0, then = () => load(app) } = {}) {
  const own = { account, credits: wanted ? String(wanted) : '', note: '' };
  const known = app.state.page.accounts ?? [];
  const before = () => known.find((/** @type {any} */ each) => each.name === own.account.trim());
  const asked = () => wholeNumber(own.credits);
  const line = (/** @type {'account' | 'credits' | 'note'} */ key, /** @type {string} */ label, hint = '') =>
    field({
      id: key,
      label,
      hint: hint || nothing,
      control: html`<input
        class="input"
        id=${key}
        ?autofocus=${key === (account ? 'credits' : 'account')}
        .value=${own[key]}
        @input=${(/** @type {any} */ event) => {
          own[key] = event.target.value;
          app.draw(true);
        }}
      />`,
    });
  app.ask({
    kind: 'ask',
    title: 'Grant credits',
    words: 'A negative number takes back what is available.',
    get body() {
      return html`<div class="stack form">
        ${line('account', 'Account', known.length ? '' : 'A name such as team. The account is created if it does not exist.')}
        ${line('credits', 'Credits')} ${line('note', 'Note (for your records)')}
      </div>`;
    },
    get effects() {
      const had = before()?.available ?? 0;
      return Number.isSafeInteger(asked()) && asked()
        ? [[count(had + asked()), `available then; ${count(had)} now`]]
        : [];
    },
    button: 'Grant',
    get disabled() {
      return !own.account.trim() || !Number.isSafeInteger(asked()) || asked() === 0;
    },
    act: async () => {
      await change(app, 'credits.grant', { account: own.account.trim(), credits: asked(), note: own.note.trim() });
      await then();
    },
  });
}
