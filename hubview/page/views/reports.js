/** Reports: figures of all campaigns over time, and of each. */

import { html, nothing, svg } from '../vendor/lit-html/lit-html.js';
import { count, percent, plural, sentence, time } from '../format.js';
import { empty, loading, note, pageHead, unknown } from '../parts.js';
import { address } from '../router.js';
import { icon } from '../icons.js';
import { save } from '../saving.js';
import { scale } from './campaign-overview.js';

/** @type {Record<string, {title: string, since: string, until?: string, by: string, words: string}>} */
const SPANS = {
  week: { title: '7 days', since: '7 days', by: 'day', words: 'the last 7 days, by day' },
  month: { title: '30 days', since: '30 days', by: 'day', words: 'the last 30 days, by day' },
  last: { title: 'Last month', since: '', by: 'day', words: 'last month, by day' },
  year: { title: '12 months', since: '365 days', by: 'month', words: 'the last 12 months, by month' },
};
/** @typedef {{at: string | null, sent: number, delivered: number, undelivered: number, failed: number, bounced: number, complaints: number, replies: number, opt_outs: number, cost: number, delivery_rate: number | null, opt_out_rate: number | null}} Figures */

/** @type {import('../pages.js').Page} */
export const reportsPage = {
  title: () => 'Reports',
  view: reports,
  open: load,
};

/** @param {any} app */
async function load(app) {
  const { page, route } = app.state;
  const { since, by, until } = stretch(route.params.span, new Date());
  const { label } = page;
  const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? '';
  const report = await app.call('report.get', {
    since,
    by,
    timezone,
    ...(until ? { until } : {}),
    ...(label ? { label } : {}),
  });
  app.patch(page, { report });
}

/**
 * The span to ask for, from the table of spans, with its dates.
 * @param {string} name
 * @param {Date} now in this computer's time zone
 */
export function stretch(name, now) {
  const span = SPANS[name] ?? SPANS.month;
  if (span !== SPANS.last) return span;
  const date = (/** @type {Date} */ day) =>
    [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => String(part).padStart(2, '0')).join('-');
  const first = new Date(now.getFullYear(), now.getMonth() - 1, 1);
  return { ...span, since: date(first), until: date(new Date(now.getFullYear(), now.getMonth(), 0)) };
}

/**
 * What to save of the report that is shown.
 * @param {string} span
 * @param {string} label
 * @returns {import('../saving.js').Wanted}
 */
function savedReport(span, label) {
  const { since, until = '' } = /** @type {any} */ (stretch(span, new Date()));
  return { kind: 'report', since, until, label };
}

/** @param {any} app */
export function reports(app) {
  const { page, route } = app.state;
  const span = SPANS[route.params.span] ? route.params.span : 'month';
  const { report, label } = page;
  const of = label ? `Campaigns labelled ${label}` : 'All campaigns';
  return html`${pageHead('Reports', `${of}, ${SPANS[span].words}`, choices(app, span))}
  ${
    !report
      ? loading('Asking hubd for the figures.')
      : report.campaigns.length
        ? figures(report)
        : empty(
            'No campaign sent anything in this period',
            'As soon as one is started, what it sent and what came back is counted here.',
          )
  }`;
}

/**
 * @param {any} app
 * @param {string} span
 */
function choices(app, span) {
  const { page, campaigns } = app.state;
  const labels = [...new Set([...campaigns.values()].flatMap((/** @type {any} */ each) => each.labels ?? []))].sort();
  return html`${
      labels.length
        ? html`<select
            class="input"
            aria-label="Campaigns"
            @change=${(/** @type {any} */ event) => {
              page.label = event.target.value;
              app.attempt(() => load(app));
            }}
          >
            <option value="">All campaigns</option>
            ${labels.map((each) => html`<option value=${each} ?selected=${each === page.label}>${each}</option>`)}
          </select>`
        : nothing
    }
    <div class="seg" role="group" aria-label="Time">
      ${Object.entries(SPANS).map(
        ([name, { title }]) =>
          html`<a href=${address('reports', name)} aria-current=${name === span ? 'true' : nothing}>${title}</a>`,
      )}
    </div>
    ${
      page.report?.campaigns.length
        ? html`<button
            class="btn"
            aria-disabled=${app.state.saving ? 'true' : nothing}
            @click=${() => save(app, savedReport(span, page.label ?? ''))}
          >
            ${icon('download')}${app.state.saving ? 'Saving' : 'Save as CSV'}
          </button>`
        : nothing
    }`;
}

/** @param {any} report */
function figures(report) {
  const { total, campaigns, series, uncounted } = report;
  return html`${uncounted ? note('', 'info', `The figures of ${plural(uncounted, 'campaign')} of an earlier version are still being counted.`) : nothing}
    <dl class="kpis">
      ${kpi('Sent', count(total.sent), plural(campaigns.length, 'campaign'))}
      ${kpi('Delivered', total.delivery_rate === null ? unknown('no receipts have come') : count(total.delivered), ratio(total.delivery_rate))}
      ${kpi('Failed', count(total.failed), share(total.failed, total.sent + total.failed))}
      ${kpi('Bounced', count(total.bounced), share(total.bounced, total.sent))}
      ${kpi('Complaints', count(total.complaints), share(total.complaints, total.sent))}
      ${kpi('Replies', count(total.replies), share(total.replies, total.sent))}
      ${kpi('Opt-outs', count(total.opt_outs), ratio(total.opt_out_rate))}
    </dl>
    ${series.length ? over(series) : nothing} ${byCampaign(campaigns, total)}`;
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {string} below
 */
function kpi(name, value, below) {
  return html`<div>
    <dt>${name}</dt>
    <dd>${value}<small>${below}</small></dd>
  </div>`;
}

/** @param {number | null} rate from 0 to 1 */
function ratio(rate) {
  return rate === null ? '' : percent(rate, 1);
}

/**
 * @param {number} part
 * @param {number} whole
 */
function share(part, whole) {
  return part && whole ? percent(part, whole) : '';
}

/**
 * What became of a stretch's messages: with a receipt, accepted without one, and not.
 * @param {Figures} each
 * @returns {[string, number][]} class of the colour, number; from the bottom
 */
export function parts(each) {
  const lost = each.undelivered;
  return [
    ['delivered', each.delivered],
    ['sent', Math.max(0, each.sent - each.delivered - lost)],
    ['failed', each.failed + lost],
  ];
}

/** @param {Figures[]} series */
export function over(series) {
  const most = Math.max(...series.map((each) => parts(each).reduce((sum, [, number]) => sum + number, 0)));
  const top = scale(most);
  const wide = 1000 / series.length;
  const told = `Messages over time: ${count(most)} at most in one of ${plural(series.length, 'stretch', 'stretches')}`;
  return html`<section class="sec" aria-labelledby="h-over">
    <div class="sec-head">
      <h2 id="h-over">Messages over time</h2>
      <span class="aside"
        ><span class="legend"
          >${[
            ['delivered', 'Delivered'],
            ['sent', 'Sent, no receipt'],
            ['failed', 'Failed or undelivered'],
          ].map(
            ([name, words]) =>
              html`<span
                ><svg class="key" aria-hidden="true"><rect class="f-${name}" width="100%" height="100%" /></svg
                >${words}</span
              >`,
          )}</span
        ></span
      >
    </div>
    <div class="chart tall">
      <div class="y" aria-hidden="true">
        ${[4, 3, 2, 1, 0].map((step) => html`<span>${count((step * top) / 4)}</span>`)}
      </div>
      <div class="plot">
        <svg class="p" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label=${told}>
          <g class="grid">
            ${[0, 25, 50, 75].map((y) => svg`<line x1="0" x2="1000" y1=${y} y2=${y}/>`)}${svg`<line class="zero" x1="0" x2="1000" y1="100" y2="100"/>`}
          </g>
          ${series.map((each, index) => column(parts(each), index * wide, wide, top))}
        </svg>
      </div>
      <div class="x" aria-hidden="true">
        ${[series[0], series[series.length - 1]].map((each) => html`<span>${day(each.at)}</span>`)}
      </div>
    </div>
  </section>`;
}

/**
 * @param {[string, number][]} stacked
 * @param {number} x
 * @param {number} wide
 * @param {number} top
 */
function column(stacked, x, wide, top) {
  let y = 100;
  return stacked.map(([name, number]) => {
    const high = (100 * number) / top;
    y -= high;
    return number
      ? svg`<rect class=${`f-${name}`} x=${x + 0.14 * wide} width=${0.72 * wide} y=${y} height=${high}/>`
      : nothing;
  });
}

/** @param {string | null} at */
function day(at) {
  return at ? new Date(at).toLocaleDateString('en-GB', { day: 'numeric', month: 'short' }) : '';
}

/**
 * @param {any[]} campaigns
 * @param {any} total
 */
function byCampaign(campaigns, total) {
  const now = Date.now();
  return html`<section class="sec" aria-labelledby="h-each">
    <div class="sec-head">
      <h2 id="h-each">By campaign</h2>
      <span class="aside">“-” means not known: no receipts have come.</span>
    </div>
    <table class="table">
      <thead>
        <tr>
          <th scope="col">Campaign</th>
          <th scope="col" class="num">Sent</th>
          <th scope="col" class="num">Delivered</th>
          <th scope="col" class="num">Failed</th>
          <th scope="col" class="num">Bounced</th>
          <th scope="col" class="num">Replies</th>
          <th scope="col" class="num">Opt-outs</th>
          <th scope="col" class="num">Last run</th>
        </tr>
      </thead>
      <tbody>
        ${campaigns.map(
          (each) =>
            html`<tr>
              <td class="cut"><a class="b" href=${address('campaigns', each.name)}>${each.name}</a></td>
              ${cells(each)}
              <td class="num t2">
                ${each.last_run_at ? time(each.last_run_at, now) : '-'}<span class="rate"
                  >${sentence(each.last_run_result ?? '')}</span
                >
              </td>
            </tr>`,
        )}
      </tbody>
      <tfoot>
        <tr>
          <td>${plural(campaigns.length, 'campaign')}</td>
          ${cells(total)}
          <td></td>
        </tr>
      </tfoot>
    </table>
  </section>`;
}

/** @param {any} each */
function cells(each) {
  /** @type {[unknown, string][]} */
  const all = [
    [count(each.sent), ''],
    [each.delivery_rate === null ? unknown('no receipts have come') : count(each.delivered), ratio(each.delivery_rate)],
    [count(each.failed), share(each.failed, each.sent + each.failed)],
    [count(each.bounced), share(each.bounced, each.sent)],
    [count(each.replies), share(each.replies, each.sent)],
    [count(each.opt_outs), ratio(each.opt_out_rate)],
  ];
  return all.map(([value, below]) => html`<td class="num">${value}<span class="rate">${below}</span></td>`);
}
