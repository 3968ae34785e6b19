/** One campaign: its title and actions, and the tab that is open. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { askStart, askStop, pauseOrResume } from '../actions.js';
import { archive, askClone, askDelete, askRate } from '../actions-campaign.js';
import { askRetry } from '../actions-failures.js';
import { chainWords, providersOf } from '../draft.js';
import { channelName, count, time } from '../format.js';
import { icon } from '../icons.js';
import { FINISHED, empty, loading, state as stateMark } from '../parts.js';
import { address } from '../router.js';
import { mayChange, pauseWords } from '../store.js';
import { content, openContent } from './campaign-content.js';
import { failures, openFailures } from './campaign-failures.js';
import { log, openLog } from './campaign-log.js';
import { overview } from './campaign-overview.js';
import { drawer } from './campaign-message.js';
import { openRecipients, recipients, scrolled } from './campaign-recipients.js';
import { askStopSeries, keepToday, loadToday } from './series.js';

const AGAIN = 500; // milliseconds in which changes are collected before the page is fetched again

/** @type {Record<string, (app: any, view: any) => unknown>} */
const VIEWS = { overview, recipients, failures, content, log };
/** @type {Record<string, (app: any, name: string) => unknown>} */
const OPENS = {
  overview: openFailures,
  recipients: openRecipients,
  failures: openFailures,
  content: openContent,
  log: openLog,
};

/** @type {import('../pages.js').Page} */
export const campaignPage = {
  title: ({ name }) => name,
  view: (app) => campaign(app, Date.now()),
  keeps: (before, next) => before.params.name === next.params.name && tabOf(before) === tabOf(next),
  async open(app) {
    const { page, route } = app.state;
    const { name } = route.params;
    try {
      const found = await app.call('campaign.get', { name });
      app.state.campaigns.set(name, found.campaign);
      if (found.campaign.repeats) app.state.occurrences.set(name, found.occurrences);
      const { spec, archived, occurrences, upcoming, credits } = found;
      app.patch(page, { spec, archived, occurrences, upcoming, credits, missing: false });
      if (found.campaign.trigger && tabOf(route) === 'overview') app.attempt(() => loadToday(app, name));
    } catch (/** @type {any} */ error) {
      if (error.code !== 'campaign_not_found') throw error;
      app.patch(page, { missing: true });
      return;
    }
    await OPENS[tabOf(route)]?.(app, name);
  },
  event(app, event) {
    const { page, route } = app.state;
    if (event.campaign !== route.params.name) return;
    if (event.type === 'campaign.progress') {
      if (tabOf(route) === 'overview') keepToday(app, event.data.campaign);
      return;
    }
    page.stale = true; // what was fetched for a tab is no longer complete
    if (/^campaign\.(applied|occurrence|state|joined)$/.test(event.type)) soon(app, page);
  },
  drawn: scrolled,
};

/**
 * Fetch the page again soon: one request for several changes.
 * @param {any} app
 * @param {any} page
 */
function soon(app, page) {
  if (page.again) return;
  page.again = setTimeout(() => {
    page.again = undefined;
    if (page === app.state.page) app.refresh();
  }, AGAIN);
}

/** @param {{params: Record<string, string>}} route */
function tabOf(route) {
  return route.params.tab ?? 'overview';
}

/**
 * @param {any} app
 * @param {number} now milliseconds
 */
export function campaign(app, now) {
  const { state } = app;
  const { name } = state.route.params;
  const view = state.campaigns.get(name);
  if (state.page.missing) {
    return empty(
      `There is no campaign ${name}`,
      'It was deleted, or its name is mistyped.',
      html`<a class="btn" href="#/">Show the campaigns</a>`,
    );
  }
  if (!view) return loading(`Asking hubd for ${name}.`);
  const tab = tabOf(state.route);
  const shown = VIEWS[tab];
  const opened = tab === 'recipients' && state.page.message;
  return html`<div class=${opened ? 'with-drawer' : ''}>
    <div class="page">
      <div class="crumb"><a href="#/">Campaigns</a> /</div>
      <div class="head">
        <div class="grow">
          <div class="row title">
            <h1 class="cut" title=${name}>${name}</h1>
            ${stateMark(view.state)}
          </div>
          <p class="sub cut">
            ${about(view, now, state.page.spec)}${
              view.series ? html` A time of <a href=${address('campaigns', view.series)}>${view.series}</a>.` : nothing
            }
          </p>
        </div>
        <div class="actions">${mayChange(state) ? actions(app, view) : nothing}</div>
      </div>
      ${reason(app, view)} ${tabs(app, view, tab)}
      ${shown ? shown(app, view) : empty('There is no such page', 'Choose one of the tabs above.')}
    </div>
    ${opened ? drawer(app, view) : nothing}
  </div>`;
}

/**
 * @param {any} view
 * @param {number} now
 * @param {any} [spec] its file, which may name several providers
 */
export function about(view, now, spec = view) {
  const lists = view.lists.length ? ` to ${view.trigger ? 'everybody added to ' : ''}${view.lists.join(', ')}` : '';
  const began = view.started_at ? ` Started ${time(view.started_at, now)}.` : '';
  const ended = view.completed_at ? ` Completed ${time(view.completed_at, now)}.` : '';
  const at = view.state === 'scheduled' ? ` ${view.repeats ? 'Next' : 'Starts'} ${time(view.scheduled_at, now)}.` : '';
  return `${channelName(view.channel)} through ${chainWords(providersOf(spec))}${lists}.${at}${began}${ended}`;
}

/**
 * Why it does not go on, and the way out.
 * @param {any} app
 * @param {any} view
 */
function reason(app, view) {
  const words = view.state === 'running' ? view.last_error : view.reason;
  if (!words || (FINISHED.includes(view.state) && view.state !== 'failed')) return nothing;
  const bad = view.state === 'failed';
  const refused = view.refused ? ` ${count(view.refused)} waiting recipients were refused with it.` : '';
  return html`<div class="note ${bad ? 'bad' : 'wait'} why" role="status">
    ${icon(bad ? 'cross' : 'warning')}
    <div><b class="b">${sentenceOf(view, words)}</b>${refused}</div>
    ${
      mayChange(app.state) && view.state === 'paused' && view.reason !== 'limit'
        ? html`<div class="actions"><a class="btn btn-s" href="#/providers">Show ${view.provider}</a></div>`
        : nothing
    }
  </div>`;
}

/**
 * @param {any} view
 * @param {string} words
 */
function sentenceOf(view, words) {
  if (view.state !== 'paused') return words;
  return `Paused: ${pauseWords(view)}${words === 'limit' ? '. Resume to send the rest' : ''}`;
}

/**
 * At most three; the first is what one would do next.
 * @param {any} app
 * @param {any} view
 */
function actions(app, view) {
  const { name } = view;
  const busy = app.state.busy.get(name);
  const button = (
    /** @type {string} */ words,
    /** @type {import('../icons.js').IconName} */ shape,
    /** @type {() => unknown} */ act,
    tone = '',
  ) => html`<button class="btn ${tone}" @click=${act}>${icon(shape)}${words}</button>`;
  const toggle = (/** @type {'pause' | 'resume'} */ verb) =>
    html`<button
      class="btn ${verb === 'resume' ? 'btn-primary' : ''}"
      data-key="p"
      aria-disabled=${busy ? 'true' : nothing}
      @click=${() => pauseOrResume(app, name, verb)}
    >
      ${icon(verb === 'pause' ? 'pause' : 'play')}${busy ? (busy === 'pause' ? `Pausing, ${count(view.counts.sending)} in flight` : 'Resuming') : verb === 'pause' ? 'Pause' : 'Resume'}<kbd
        aria-hidden="true"
        >P</kbd
      >
    </button>`;
  const stop = button('Stop…', 'stop', () => (view.repeats ? askStopSeries : askStop)(app, name));
  /** @type {Record<string, unknown[]>} */
  const shown = {
    draft: [
      button('Start…', 'play', () => askStart(app, name), 'btn-primary'),
      html`<a class="btn" href=${address('new', name)}>Edit</a>`,
    ],
    scheduled: [stop],
    running: [toggle('pause'), stop],
    paused: [toggle('resume'), stop],
    stopped: [button('Start again…', 'play', () => askStart(app, name))],
    failed: [button('Start again…', 'play', () => askStart(app, name), 'btn-primary')],
    completed:
      view.counts.failed + view.counts.undelivered
        ? [button('Retry failed…', 'retry', () => askRetry(app, name, 'all'))]
        : [],
  };
  return html`${shown[view.state]}${more(app, view)}`;
}

/**
 * Actions that are seldom needed.
 * @param {any} app
 * @param {any} view
 */
function more(app, view) {
  const { name } = view;
  const ended = FINISHED.includes(view.state);
  const items = [
    ...(ended ? [] : [['Limit the rate…', () => askRate(app, name)]]),
    ['Copy…', () => askClone(app, name)],
    ['Show as file', () => app.go(address('campaigns', name, 'content'))],
    ...(ended
      ? [
          [
            app.state.archived.has(name) ? 'Take out of the archive' : 'Archive',
            () => app.attempt(() => archive(app, [name], !app.state.archived.has(name))),
          ],
        ]
      : []),
    ...(ended || view.state === 'draft' ? [['Delete…', () => askDelete(app, name)]] : []),
  ];
  return html`<details class="menu">
    <summary class="btn btn-icon" aria-label="More actions" title="More">${icon('more')}</summary>
    <div class="items">
      ${items.map(
        ([words, act]) =>
          html`<button
            @click=${(/** @type {any} */ event) => {
              event.target.closest('details').open = false;
              /** @type {() => unknown} */ (act)();
            }}
          >
            ${words}
          </button>`,
      )}
    </div>
  </details>`;
}

/**
 * @param {any} app
 * @param {any} view
 * @param {string} open
 */
function tabs(app, view, open) {
  const lost = view.counts.failed + view.counts.undelivered + view.counts.in_doubt;
  const all = [
    ['overview', 'Overview', 0],
    ...(mayChange(app.state) && !view.repeats ? [['recipients', 'Recipients', view.counts.total]] : []),
    ...(view.repeats ? [] : [['failures', 'Failures', lost]]),
    ['content', 'Content', 0],
    ['log', 'Log', 0],
  ];
  return html`<nav class="tabs" aria-label="Campaign">
    ${all.map(
      ([name, words, number]) =>
        html`<a
          href=${name === 'overview' ? address('campaigns', view.name) : address('campaigns', view.name, String(name))}
          aria-current=${name === open ? 'page' : nothing}
          >${words}${number ? html` <span class="n">${count(Number(number))}</span>` : nothing}</a
        >`,
    )}
    ${
      view.state === 'running' && mayChange(app.state)
        ? html`<span class="aside hide-d">Pausing lets messages in flight finish.</span>`
        : nothing
    }
  </nav>`;
}
