/** What went wrong in a campaign, by reason, in the provider's own words, and what can be done. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { askDecide, askRetry } from '../actions-failures.js';
import { count, sentence, words } from '../format.js';
import { icon } from '../icons.js';
import { empty, loading, peopleWord } from '../parts.js';
import { address } from '../router.js';
import { save } from '../saving.js';
import { mayChange } from '../store.js';

const NOT_DELIVERED = ['failed', 'undelivered', 'skipped', 'in_doubt'];

/**
 * @param {any} app
 * @param {string} name
 */
export async function openFailures(app, name) {
  const { page } = app.state;
  const { groups } = await app.call('delivery.failures', { campaign: name });
  app.patch(page, { groups, stale: false });
}

/**
 * @param {any} app
 * @param {any} view
 */
export function failures(app, view) {
  const { groups, stale } = app.state.page;
  if (!groups) return loading('Asking hubd what went wrong.');
  if (!groups.length && view.counts.skipped) {
    return empty(
      'Nothing failed',
      html`${skippedWords(view.counts.skipped)} See who, and why.`,
      html`<div class="row">
        ${mayChange(app.state) ? html`${skippedLink(app, view)} ${saveButton(app, view)}` : nothing}
      </div>`,
    );
  }
  if (!groups.length) {
    return empty(
      'Nothing went wrong',
      view.counts.total
        ? 'Every message that was tried has been accepted or waits for its next attempt.'
        : 'Nothing has been sent yet.',
    );
  }
  return html`<section class="sec" aria-label="Failures">
    <div class="toolbar">
      <span class="hint">Addresses are never shown here.</span>
      ${stale ? html`<button class="btn btn-s btn-quiet" @click=${() => app.refresh()}>${icon('retry')}There is news: refresh</button>` : nothing}
      <span class="grow"></span>
      ${mayChange(app.state) ? saveButton(app, view) : nothing}
      ${
        mayChange(app.state) && view.counts.failed + view.counts.undelivered
          ? html`<button class="btn btn-s" @click=${() => askRetry(app, view.name, 'transient')}>
                Retry what may succeed…
              </button>
              <button class="btn btn-s" @click=${() => askRetry(app, view.name, 'all')}>Retry all…</button>`
          : nothing
      }
    </div>
    ${failuresTable(app, view, groups)}
    ${
      view.counts.skipped
        ? html`<p class="hint below">
            ${skippedWords(view.counts.skipped)} ${mayChange(app.state) ? skippedLink(app, view) : nothing}
          </p>`
        : nothing
    }
  </section>`;
}

/** @param {number} number */
function skippedWords(number) {
  return `${peopleWord(number)} ${number === 1 ? 'was' : 'were'} left out before anything was sent to them.`;
}

/**
 * @param {any} app
 * @param {any} view
 */
function skippedLink(app, view) {
  const path = address('campaigns', view.name, 'recipients');
  return html`<a class="btn btn-s" href=${path} @click=${() => (app.state.wantedState = 'skipped')}>Show skipped</a>`;
}

/**
 * @param {any} app
 * @param {any} view
 */
function saveButton(app, view) {
  return html`<button
    class="btn btn-s"
    title="Everybody whose message failed, bounced, was skipped or is in doubt, with the reason"
    aria-disabled=${app.state.saving ? 'true' : nothing}
    @click=${() => save(app, { kind: 'recipients', campaign: view.name, states: NOT_DELIVERED })}
  >
    ${icon('download')}${app.state.saving ? 'Saving' : 'Save who did not get it'}
  </button>`;
}

/**
 * @param {any} app
 * @param {any} view
 * @param {any[]} groups
 */
export function failuresTable(app, view, groups) {
  return html`<table class="table flat">
    <thead>
      <tr>
        <th class="num w-people" scope="col">People</th>
        <th class="w-class" scope="col">Class</th>
        <th scope="col">Why</th>
        <th class="num w-code" scope="col">Code</th>
        <th class="w-act"><span class="vh">Action</span></th>
      </tr>
    </thead>
    <tbody>
      ${groups.map((group) => failureRow(app, view, group))}
    </tbody>
  </table>`;
}

/**
 * @param {any} app
 * @param {any} view
 * @param {any} group
 */
export function failureRow(app, view, group) {
  const said = group.provider_reply ?? '';
  return html`<tr>
    <td class="num b">${count(group.count)}</td>
    <td>${classMark(group.class)}</td>
    <td>
      <div>${group.detail || sentence(words(group.reason))}</div>
      ${said ? html`<div class="words">${said}</div>` : nothing}
    </td>
    <td class="num t2">${group.code || html`<span class="none">-</span>`}</td>
    <td class="num">${mayChange(app.state) ? wayOut(app, view, group) : nothing}</td>
  </tr>`;
}

/** @param {string} kind */
function classMark(kind) {
  if (kind === 'in_doubt') return html`<span class="state in_doubt">${icon('doubt')}In doubt</span>`;
  return html`<span class="state failed">${icon(kind === 'transient' ? 'retry' : 'cross')}${sentence(kind)}</span>`;
}

/**
 * @param {any} app
 * @param {any} view
 * @param {any} group
 */
function wayOut(app, view, group) {
  if (group.class === 'in_doubt') {
    return html`<button class="btn btn-s" @click=${() => askDecide(app, view.name)}>Decide…</button>`;
  }
  const path = address('campaigns', view.name, 'recipients');
  return html`<a class="btn btn-s" href=${path} @click=${() => (app.state.wantedState = group.state)}
    >Show ${group.state}</a
  >`;
}
