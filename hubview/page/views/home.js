/** Home: what needs a person, what runs, every campaign. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { archive, askStop, pauseOrResume } from '../actions.js';
import { channelName, count, percent, plural, rate, sentence, span, time } from '../format.js';
import { icon } from '../icons.js';
import { FINISHED, bar, empty, figures, legend, loading, pageHead, state as stateMark, unknown } from '../parts.js';
import { address } from '../router.js';
import { board, mayChange, needs, pauseWords } from '../store.js';
import { first } from './first.js';
import { needsYou } from './needs.js';

/** @type {[string, string, string[] | null][]} what the segments of the toolbar show */
const GROUPS = [
  ['all', 'All', null],
  ['active', 'Active', ['running', 'paused']],
  ['upcoming', 'Upcoming', ['scheduled', 'draft']],
  ['finished', 'Finished', FINISHED],
];

/** @type {import('../pages.js').Page} */
export const homePage = {
  title: () => 'Campaigns',
  view: (app) => home(app, Date.now()),
  keeps: () => true,
};

/**
 * @param {any} app
 * @param {number} now milliseconds
 */
export function home(app, now) {
  const { state } = app;
  if (!state.loaded) return state.link.state === 'lost' ? notYet() : loading('Asking hubd for the campaigns.');
  const views = board(state);
  if (!state.campaigns.size) return first(app);
  const waiting = needs(state);
  const running = views.filter((view) => view.state === 'running');
  return html`${pageHead('Campaigns', summary(views), html`<button class="btn btn-quiet btn-s" @click=${() => app.ask({ kind: 'keys' })}><kbd aria-hidden="true">?</kbd> Keys</button>`)}
  ${
    waiting.length || running.length
      ? html`<div class=${waiting.length && running.length ? 'top' : ''}>
          ${waiting.length ? needsYou(app, waiting) : nothing} ${running.length ? jobs(app, running, now) : nothing}
        </div>`
      : nothing
  }
  ${table(app, views, now)}`;
}

/** @param {any[]} views */
export function summary(views) {
  const running = views.filter((view) => view.state === 'running');
  const speed = running.reduce((sum, view) => sum + view.rate, 0);
  const told = ['running', 'paused', 'scheduled']
    .map((name) => [views.filter((view) => view.state === name).length, name])
    .filter(([number]) => number)
    .map(([number, name]) => `${number} ${name}`);
  const words = told.length ? `${sentence(told.join(', '))}.` : `${plural(views.length, 'campaign')}, none is running.`;
  return speed ? html`<b class="b">${rate(speed)}</b> now. ${words}` : words;
}

/**
 * @param {any} app
 * @param {any[]} running
 * @param {number} now
 */
function jobs(app, running, now) {
  return html`<section class="jobs" aria-labelledby="h-jobs">
    <div class="sec-head">
      <h2 id="h-jobs">Running jobs</h2>
      <span class="t3 s">${running.length}</span>
    </div>
    <ul>
      ${repeat(
        running,
        (view) => view.name,
        (view) =>
          html`<li>
            <div class="cut">
              <a class="b name" href=${address('campaigns', view.name)}>${view.name}</a>
              <span class="t3 s">${view.freezing ? 'collecting its recipients' : left(view, now)}</span>
            </div>
            <div class="num s t2">${percent(settled(view.counts), view.counts.total)}</div>
            ${
              mayChange(app.state)
                ? html`<button
                    class="btn btn-quiet btn-s btn-icon"
                    aria-label="Stop ${view.name}"
                    title="Stop…"
                    @click=${() => askStop(app, view.name)}
                  >
                    ${icon('stop')}
                  </button>`
                : nothing
            }
            ${bar(view.counts, 'xs')}
          </li>`,
      )}
    </ul>
  </section>`;
}

/** Deliveries about which nothing more is done. @param {Record<string, number>} counts */
export function settled(counts) {
  return counts.total - counts.pending - counts.deferred - counts.sending;
}

/**
 * @param {any} view
 * @param {number} now
 */
function left(view, now) {
  if (view.state !== 'running') return '';
  if (view.last_error && !view.rate) return view.last_error;
  return view.eta === null ? '' : `${span(view.eta)} left, ends ${time(now + 1000 * view.eta, now)}`;
}

/**
 * @param {any} app
 * @param {any[]} views
 * @param {number} now
 */
function table(app, views, now) {
  const { group = 'all', filter = '' } = app.state.page;
  const shown = visible(views, group, filter);
  const ended = views.filter((view) => FINISHED.includes(view.state)).map((view) => view.name);
  return html`<section class="sec" aria-label="All campaigns">
    <div class="toolbar">
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
              ${icon('broom')}Clear ${ended.length} finished…
            </button>`
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
                  (view) => row(app, view, now),
                )}
              </tbody>
            </table>
            ${legend()}`
        : empty(
            'No campaign fits',
            filter ? `No name and no provider contains “${filter}”.` : 'There is none in this group.',
          )
    }
  </section>`;
}

/**
 * @param {any[]} views
 * @param {string} group
 * @param {string} filter
 */
export function visible(views, group, filter) {
  const states = GROUPS.find(([name]) => name === group)?.[2];
  const wanted = filter.trim().toLowerCase();
  return views.filter(
    (view) =>
      (!states || states.includes(view.state)) &&
      (!wanted || view.name.includes(wanted) || view.provider.toLowerCase().includes(wanted)),
  );
}

/**
 * @param {any} app
 * @param {any} view
 * @param {number} now
 */
export function row(app, view, now) {
  const runs = view.state === 'running';
  return html`<tr>
    <td>
      <a class="name cut" href=${address('campaigns', view.name)} title=${view.name}>${view.name}</a>
      <span class="l2 cut">${channelName(view.channel)}, ${view.provider}</span>
    </td>
    <td>
      ${stateMark(view.state)}<span class="l2 cut ${view.reason ? 'why' : ''}" title=${view.reason}
        >${since(view, now)}</span
      >
    </td>
    <td>${bar(view.counts)}${figures(view.counts, view.state)}</td>
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
  if (view.state === 'running') return view.last_error || `since ${time(view.started_at, now)}`;
  if (view.state === 'scheduled') return time(view.scheduled_at, now);
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
    title: `Hide ${plural(names.length, 'finished campaign')}?`,
    words: 'They are archived: nothing is deleted, and hubctl list --all shows them.',
    button: `Archive ${names.length}`,
    act: () => archive(app, names),
  });
}

function notYet() {
  return empty(
    'hubd is not running',
    'hubd is the program that sends. As soon as it answers, your campaigns are shown here.',
  );
}
