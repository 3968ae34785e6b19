/** Every campaign with its state and figures: filtered, chosen, and what can be done to several at once. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { pauseOrResume } from '../actions.js';
import { archive } from '../actions-campaign.js';
import { VERBS, askBatch, fitting } from '../batch.js';
import { channelName, count, plural, rate, sentence, span, time } from '../format.js';
import { icon } from '../icons.js';
import { FINISHED, bar, empty, figures, legend, state as stateMark, unknown } from '../parts.js';
import { address } from '../router.js';
import { mayChange, pauseWords } from '../store.js';
import { inShort } from './series.js';

/** @type {[string, string, string[] | null][]} what the segments of the toolbar show */
const GROUPS = [
  ['all', 'All', null],
  ['active', 'Active', ['running', 'paused']],
  ['upcoming', 'Upcoming', ['scheduled', 'draft']],
  ['finished', 'Finished', FINISHED],
];

/**
 * @param {any} app
 * @param {any[]} views
 * @param {number} now
 */
export function campaigns(app, views, now) {
  const { group = 'all', filter = '', label = '' } = app.state.page;
  const shown = visible(views, group, filter, label);
  const chosen = chosenOf(app.state.page, shown);
  const labels = [...new Set(views.flatMap((view) => view.labels ?? []))].sort();
  const ended = views.filter((view) => FINISHED.includes(view.state)).map((view) => view.name);
  return html`<section class="sec" aria-label="All campaigns">
    <div class="toolbar wrap">
      <div class="seg" role="group" aria-label="Show">
        ${GROUPS.map(
          ([name, words, states]) =>
            html`<button
              aria-pressed=${group === name ? 'true' : 'false'}
              @click=${() => app.patch(app.state.page, { group: name })}
            >
              ${words}
              <span class="n">${count(views.filter((view) => !states || states.includes(view.state)).length)}</span>
            </button>`,
        )}
      </div>
      ${
        ended.length > 2 && mayChange(app.state)
          ? html`<button class="btn btn-quiet btn-s" @click=${() => askArchive(app, ended)}>
              ${icon('broom')}Archive ${ended.length} finished…
            </button>`
          : nothing
      }
      ${
        labels.length
          ? html`<select
              class="input by-label"
              aria-label="Label"
              @change=${(/** @type {any} */ event) => app.patch(app.state.page, { label: event.target.value })}
            >
              <option value="" ?selected=${!label}>All labels</option>
              ${labels.map((each) => html`<option value=${each} ?selected=${each === label}>${each}</option>`)}
            </select>`
          : nothing
      }
      <label class="search"
        >${icon('search')}<span class="vh">Filter campaigns</span
        ><input
          class="input"
          type="search"
          placeholder="Filter by name or provider"
          .value=${filter}
          @input=${(/** @type {any} */ event) => app.patch(app.state.page, { filter: event.target.value })}
        /><kbd aria-hidden="true">/</kbd></label
      >
    </div>
    ${
      shown.length
        ? html`<table class="board">
              <caption class="vh">
                Campaigns
              </caption>
              <thead>
                <tr>
                  ${mayChange(app.state) ? chooseAll(app, shown, chosen) : nothing}
                  <th class="c-name" scope="col">Campaign</th>
                  <th class="c-state" scope="col">State</th>
                  <th scope="col">Progress</th>
                  <th class="c-rate num hide-n" scope="col">Rate</th>
                  <th class="c-left num" scope="col">Time left</th>
                  <th class="c-act"><span class="vh">Actions</span></th>
                </tr>
              </thead>
              <tbody>
                ${repeat(
                  shown,
                  (view) => view.name,
                  (view) => row(app, view, now, chosen.has(view.name)),
                )}
              </tbody>
            </table>
            ${chosen.size ? batch(app, shown, chosen) : nothing} ${legend()}`
        : empty(
            'No campaign found',
            filter ? `No name or provider contains “${filter}”.` : 'There is none in this group.',
            html`<button class="btn" @click=${() => app.patch(app.state.page, { group: 'all', filter: '', label: '' })}>
              Show all campaigns
            </button>`,
          )
    }
  </section>`;
}

/**
 * The names that are chosen, of those that are shown: nothing is done to what nobody sees.
 * @param {any} page
 * @param {any[]} shown
 * @returns {Set<string>}
 */
export function chosenOf({ chosen = new Set() }, shown) {
  return new Set(shown.map((view) => view.name).filter((name) => chosen.has(name)));
}

/**
 * @param {any} app
 * @param {any[]} shown
 * @param {Set<string>} chosen
 */
function chooseAll(app, shown, chosen) {
  const all = chosen.size === shown.length;
  return html`<th class="c-check">
    <input
      type="checkbox"
      aria-label="Select all campaigns that are shown"
      .checked=${all}
      .indeterminate=${chosen.size > 0 && !all}
      @change=${() => app.patch(app.state.page, { chosen: new Set(all ? [] : shown.map((view) => view.name)) })}
    />
  </th>`;
}

/**
 * What can be done to those that are chosen.
 * @param {any} app
 * @param {any[]} shown
 * @param {Set<string>} chosen
 */
function batch(app, shown, chosen) {
  const views = shown.filter((view) => chosen.has(view.name));
  const verbs = /** @type {(keyof typeof VERBS)[]} */ (Object.keys(VERBS));
  return html`<div class="batchbar" role="group" aria-label="Selected campaigns">
    <b class="b" role="status">${count(chosen.size)} selected</b>
    ${verbs.map((verb) => {
      const number = fitting(verb, views).length;
      return number
        ? html`<button class="btn btn-s" @click=${() => askBatch(app, verb, [...chosen])}>
            ${VERBS[verb].words}…${number < chosen.size ? html`<span class="t3">${count(number)}</span>` : nothing}
          </button>`
        : nothing;
    })}
    <button
      class="btn btn-s btn-quiet"
      data-key="escape"
      @click=${() => app.patch(app.state.page, { chosen: new Set() })}
    >
      Clear<kbd aria-hidden="true">Esc</kbd>
    </button>
  </div>`;
}

/**
 * @param {any[]} views
 * @param {string} group
 * @param {string} filter
 * @param {string} [label]
 */
export function visible(views, group, filter, label = '') {
  const states = GROUPS.find(([name]) => name === group)?.[2];
  const wanted = filter.trim().toLowerCase();
  return views.filter(
    (view) =>
      (!states || states.includes(view.state)) &&
      (!label || view.labels?.includes(label)) &&
      (!wanted || view.name.includes(wanted) || view.provider.toLowerCase().includes(wanted)),
  );
}

/**
 * @param {any} app
 * @param {any} view
 * @param {number} now
 * @param {boolean} [chosen]
 */
export function row(app, view, now, chosen = false) {
  const runs = view.state === 'running';
  const labels = view.labels?.length ? ` · ${view.labels.join(', ')}` : '';
  const about = `${channelName(view.channel)}, ${view.provider}${labels}`;
  return html`<tr aria-selected=${chosen ? 'true' : nothing}>
    ${
      mayChange(app.state)
        ? html`<td class="c-check">
            <input
              type="checkbox"
              aria-label="Select ${view.name}"
              .checked=${chosen}
              @change=${(/** @type {any} */ event) => {
                const { chosen: others = new Set() } = app.state.page;
                const next = new Set(others);
                next[event.target.checked ? 'add' : 'delete'](view.name);
                app.patch(app.state.page, { chosen: next });
              }}
            />
          </td>`
        : nothing
    }
    <td>
      <a class="name cut" href=${address('campaigns', view.name)} title=${view.name}>${view.name}</a>
      <span class="l2 cut" title=${about}>${about}</span>
    </td>
    <td>
      ${stateMark(view.state)}<span class="l2 cut ${view.reason ? 'why' : ''}" title=${view.reason}
        >${since(view, now)}</span
      >
    </td>
    <td>
      ${view.repeats ? inShort(app.state, view, now) : html`${bar(view.counts)}${figures(view.counts, view.state)}`}
    </td>
    <td class="num hide-n">
      ${runs && view.rate ? rate(view.rate) : unknown('nothing is being sent')}
      <span class="l2">${view.rates.length ? `limit ${view.rates[0]}` : ''}</span>
    </td>
    <td class="num">
      ${runs && view.eta !== null ? `about ${span(view.eta)}` : unknown('not known')}
      <span class="l2"
        ><span class="hide-n">${runs && view.eta !== null ? `ends ${time(now + 1000 * view.eta, now)}` : ''}</span
        ><span class="only-n">${runs && view.rate ? rate(view.rate) : ''}</span></span
      >
    </td>
    <td class="num">${mayChange(app.state) ? quick(app, view) : nothing}</td>
  </tr>`;
}

/**
 * The line below the state: why, or since when.
 * @param {any} view
 * @param {number} now
 */
export function since(view, now) {
  if (view.reason) return view.state === 'paused' ? pauseWords(view) : view.reason;
  if (view.state === 'running' && view.trigger && !view.last_error) return `added to ${view.trigger}`;
  if (view.state === 'running') return view.last_error || `since ${time(view.started_at, now)}`;
  if (view.state === 'scheduled') return view.repeats ? 'repeats' : time(view.scheduled_at, now);
  if (view.state === 'draft') return `made ${time(view.created_at, now)}`;
  return view.completed_at
    ? time(view.completed_at, now)
    : view.started_at
      ? `started ${time(view.started_at, now)}`
      : '';
}

/**
 * The one action of a row.
 * @param {any} app
 * @param {any} view
 */
function quick(app, view) {
  const verb = view.state === 'running' ? 'pause' : view.state === 'paused' ? 'resume' : '';
  if (!verb) {
    const to = view.state === 'draft' ? address('new', view.name) : address('campaigns', view.name);
    const words = view.state === 'draft' ? 'Edit' : 'Show';
    return html`<a class="btn btn-quiet btn-s btn-icon" href=${to} aria-label="${words} ${view.name}" title=${words}
      >${icon('next')}</a
    >`;
  }
  const busy = app.state.busy.has(view.name);
  return html`<button
    class="btn btn-quiet btn-s btn-icon"
    aria-label="${sentence(verb)} ${view.name}"
    title=${sentence(verb)}
    aria-disabled=${busy ? 'true' : nothing}
    @click=${() => pauseOrResume(app, view.name, /** @type {any} */ (verb))}
  >
    ${icon(verb === 'pause' ? 'pause' : 'play')}
  </button>`;
}

/**
 * @param {any} app
 * @param {string[]} names
 */
function askArchive(app, names) {
  app.ask({
    kind: 'ask',
    title: `Archive ${plural(names.length, 'finished campaign')}?`,
    words: 'They no longer appear here. Nothing is deleted, and hubctl list --all shows them.',
    button: `Archive ${names.length}`,
    act: () => archive(app, names),
  });
}
