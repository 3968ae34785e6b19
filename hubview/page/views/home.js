/** Home: what needs a person, what runs, every campaign. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { askStop } from '../actions.js';
import { percent, plural, rate, sentence, span, time } from '../format.js';
import { icon } from '../icons.js';
import { bar, empty, loading, pageHead } from '../parts.js';
import { address } from '../router.js';
import { board, mayChange, needs } from '../store.js';
import { campaigns } from './board.js';
import { first } from './first.js';
import { needsYou } from './needs.js';

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
  ${campaigns(app, views, now)}`;
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
            <div class="num s t2">${percent(finished(view.counts), view.counts.total)}</div>
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

/** Deliveries for which nothing more is done. @param {Record<string, number>} counts */
export function finished(counts) {
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

function notYet() {
  return empty(
    'hubd is not running',
    'hubd is the program that sends. As soon as it answers, your campaigns are shown here.',
  );
}
