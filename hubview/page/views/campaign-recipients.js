/** The recipients of a campaign: a list of any length, with search and filter. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { count, sentence, time, words } from '../format.js';
import { icon } from '../icons.js';
import { ORDER, empty, failure, loading, state as stateMark } from '../parts.js';
import { Rows } from '../rows.js';
import { openMessage } from './campaign-message.js';
import { save } from '../saving.js';
import { beginList, longList, placed, position } from './long-list.js';

const SEARCH_WAIT = 300; // milliseconds after the last key

/**
 * @param {any} app
 * @param {string} name
 */
export async function openRecipients(app, name) {
  const { page, wantedState } = app.state;
  app.state.wantedState = undefined;
  if (wantedState) page.filter = wantedState;
  list(app, name);
}

/**
 * Start the list again, with the filter and the search of the page.
 * @param {any} app
 * @param {string} name
 */
function list(app, name) {
  const { page, campaigns } = app.state;
  const { filter = null, search = '' } = page;
  const counts = campaigns.get(name)?.counts ?? { total: 0 };
  const total = search ? 0 : filter ? counts[filter] : counts.total;
  const asked = { campaign: name, state: filter, search };
  const rows = new Rows(
    async (after, limit, skip) => {
      const answer = await app.call('delivery.list', { ...asked, after, limit, skip });
      return { rows: answer.deliveries, next: answer.next };
    },
    total,
    () => app.draw(),
  );
  Object.assign(page, { listedAt: Date.now(), stale: false });
  beginList(app, page, rows);
}

/**
 * @param {any} app
 * @param {any} view
 */
export function recipients(app, view) {
  const { page } = app.state;
  const { filter = null, search = '', rows, stale } = page;
  if (!rows) return loading('Asking hubd for the recipients.');
  const choose = (/** @type {string | null} */ value) => {
    page.filter = value;
    list(app, view.name);
  };
  const states = ORDER.filter((name) => view.counts[name] > 0 || name === filter);
  return html`<div class="toolbar wrap sec">
      <label class="search broad"
        >${icon('search')}<span class="vh">Find a recipient</span
        ><input
          class="input"
          type="search"
          placeholder="Part of the address"
          .value=${search}
          @input=${(/** @type {any} */ event) => {
            page.search = event.target.value.trim();
            clearTimeout(page.searching);
            page.searching = setTimeout(() => page === app.state.page && list(app, view.name), SEARCH_WAIT);
          }}
        /><kbd aria-hidden="true">/</kbd></label
      >
      <div class="chips" role="group" aria-label="State">
        <button class="chip" aria-pressed=${filter ? 'false' : 'true'} @click=${() => choose(null)}>
          All <span class="t3">${count(view.counts.total)}</span>
        </button>
        ${states.map(
          (name) =>
            html`<button class="chip" aria-pressed=${name === filter ? 'true' : 'false'} @click=${() => choose(name)}>
              ${sentence(words(name))} <span class="t3">${count(view.counts[name])}</span>
            </button>`,
        )}
      </div>
    </div>
    ${failure(rows.error)} ${rows.total || !rows.complete ? table(app, page) : none(view, search)}
    <div class="row gap below">
      <p class="hint grow">
        ${foot(page)}
        ${stale ? html`<button class="btn btn-s btn-quiet" @click=${() => list(app, view.name)}>Refresh<kbd aria-hidden="true">R</kbd></button>` : nothing}
      </p>
      ${position(app, page)} ${search || !rows.total ? nothing : saveButton(app, view, filter)}
    </div>`;
}

/**
 * @param {any} app
 * @param {any} view
 * @param {string | null} filter
 */
function saveButton(app, view, filter) {
  const states = filter ? [filter] : [];
  const number = filter ? view.counts[filter] : view.counts.total;
  return html`<button
    class="btn btn-s"
    aria-disabled=${app.state.saving ? 'true' : nothing}
    title="${count(number)} of them, with state, reason and what the provider said"
    @click=${() => save(app, { kind: 'recipients', campaign: view.name, states })}
  >
    ${icon('download')}${app.state.saving === 'recipients' ? 'Saving' : 'Save as CSV'}
  </button>`;
}

/** @param {any} page */
function foot(page) {
  const { rows } = page;
  const all = rows.complete || !page.search ? count(rows.total) : `at least ${count(Math.max(0, rows.total - 1))}`;
  return `${all} ${rows.total === 1 ? 'recipient' : 'recipients'}. The list stays as it was at ${time(page.listedAt, Date.now(), { seconds: true })} while you read.`;
}

/**
 * @param {any} view
 * @param {string} search
 */
function none(view, search) {
  if (search) return empty('Nobody fits', `No recipient of this campaign has “${search}” in the address.`);
  return empty(
    'There are no recipients',
    view.counts.total ? 'None is in this state.' : 'They are collected when the campaign starts.',
  );
}

/**
 * @param {any} app
 * @param {any} page
 */
function table(app, page) {
  return longList(app, page, {
    label: 'Recipients',
    titles: html`<th scope="col">Recipient</th>
      <th class="w-state" scope="col">State</th>
      <th class="num w-tries" scope="col">Attempts</th>
      <th class="num w-when" scope="col">Updated</th>
      <th class="hide-d" scope="col">Reason</th>`,
    line: (index, row) => line(app, index, row, page.message?.id),
  });
}

/**
 * @param {any} app
 * @param {number} index
 * @param {any} row undefined while it is being fetched
 * @param {number | undefined} open the message that is shown beside the list
 */
export function line(app, index, row, open) {
  if (!row)
    return html`<tr aria-rowindex=${index + 2}>
      <td class="t3" colspan="5">…</td>
    </tr>`;
  return html`<tr aria-rowindex=${index + 2} aria-selected=${row.id === open ? 'true' : nothing}>
    <td class="b">
      <button class="plain cut" title=${row.recipient} @click=${() => openMessage(app, index)}>${row.recipient}</button>
    </td>
    <td>${stateMark(row.state)}</td>
    <td class="num t2">${row.attempts}</td>
    <td class="num t2">${time(row.updated_at, Date.now(), { seconds: true })}</td>
    <td class="t2 hide-d">${sentence(words(row.reason))}</td>
  </tr>`;
}

/** After each drawing. @param {any} app */
export function scrolled(app) {
  const { page, route } = app.state;
  if (route.params.tab === 'recipients') placed(page);
}
