/** The overview of a campaign: progress, throughput, funnel, what went wrong. */

import { html, nothing, svg } from '../vendor/lit-html/lit-html.js';
import { count, percent, rate, sentence, span, time, words } from '../format.js';
import { ORDER, bar, unknown } from '../parts.js';
import { address } from '../router.js';
import { failuresTable } from './campaign-failures.js';
import { series, trigger } from './series.js';

const SPANS = [60, 300]; // seconds of a chart: the shortest one that holds what is known

/**
 * @param {any} app
 * @param {any} view
 */
export function overview(app, view) {
  const now = Date.now();
  if (view.repeats) return series(app, view, now);
  const samples = app.state.samples.get(view.name) ?? [];
  const groups = app.state.page.groups ?? [];
  return html`${view.trigger ? trigger(app, view) : nothing}${progress(view, now)}
    <div class="two sec">${throughput(view, samples, now)} ${funnel(view)}</div>
    ${
      groups.length
        ? html`<section class="sec" aria-labelledby="h-x">
            <div class="sec-head"><h2 id="h-x">What went wrong, by reason</h2></div>
            ${failuresTable(app, view, groups)}
          </section>`
        : nothing
    }`;
}

/**
 * @param {any} view
 * @param {number} now
 */
export function progress(view, now) {
  const { counts } = view;
  const done = counts.total - counts.pending - counts.deferred - counts.sending;
  const accepted = counts.sent + counts.delivered + counts.undelivered;
  return html`<section class="progress" aria-label="Progress">
    <div class="row base">
      <span class="big">${counts.total ? percent(done, counts.total) : '-'}</span>
      <span class="t2">${progressWords(view, accepted, now)}</span>
    </div>
    ${bar(counts, 'l')}
    <dl class="counts">
      ${ORDER.filter((name) => name !== 'sending').map(
        (name) =>
          html`<div>
            <dt>
              <svg class="key" aria-hidden="true"><rect class="f-${name}" width="100%" height="100%" /></svg
              >${sentence(words(name))}
            </dt>
            <dd>${figure(view, name)}</dd>
          </div>`,
      )}
    </dl>
  </section>`;
}

/**
 * @param {any} view
 * @param {number} accepted
 * @param {number} now
 */
function progressWords(view, accepted, now) {
  const { counts } = view;
  if (view.freezing) return 'Its recipients are being collected.';
  if (!counts.total && view.trigger) return `Nobody has been added to ${view.trigger} since it was started.`;
  if (!counts.total)
    return view.state === 'draft' ? 'Its recipients are counted when it starts.' : 'It has no recipients.';
  const so = html`${count(accepted)} of ${count(counts.total)} sent.`;
  if (view.state !== 'running' || view.eta === null) return so;
  return html`${so} About
    <b class="b">${span(view.eta)}</b> left${view.rate ? html` at <b class="b">${rate(view.rate)}</b>` : nothing}, ends
    ${time(now + 1000 * view.eta, now)}.`;
}

/**
 * @param {any} view
 * @param {string} name
 */
function figure(view, name) {
  const { counts } = view;
  const value = name === 'pending' ? counts.pending + counts.sending : counts[name];
  const receipt = name === 'delivered' || (name === 'undelivered' && !value);
  const noReceipts = receipt && view.delivery_rate === null;
  if (noReceipts) return html`${unknown('no receipts have come')}<small>no receipts</small>`;
  if (name === 'pending')
    return html`${count(value)}<small>${counts.sending ? `${count(counts.sending)} in flight` : ''}</small>`;
  if (name === 'deferred') return html`${count(value)}<small>${value ? 'will be retried' : ''}</small>`;
  return html`${count(value)}<small>${value ? percent(value, counts.total) : ''}</small>`;
}

/**
 * @param {any} view
 * @param {import('../store.js').Samples} samples
 * @param {number} now
 */
export function throughput(view, samples, now) {
  const known = samples.length ? (now - samples[0].at) / 1000 : 0;
  const seconds = SPANS.find((each) => each >= known) ?? SPANS[SPANS.length - 1];
  const from = now - 1000 * seconds;
  const shown = samples.filter((each) => each.at >= from);
  const rates = shown.flatMap((each) => (each.rate === null ? [] : [each.rate]));
  const top = scale(Math.max(0, ...rates));
  const steps = [0, 1, 2, 3, 4].map((step) => top - (step * top) / 4);
  const times = [0, 1, 2, 3, 4, 5].map((step) => from + (step * 1000 * seconds) / 5);
  const told = rates.length
    ? `Messages per second over the last ${span(seconds)}: between ${rate(Math.min(...rates))} and ${rate(Math.max(...rates))}, now ${rate(view.rate)}`
    : 'Messages per second: nothing has been sent since this window was opened';
  return html`<section aria-labelledby="h-t">
    <div class="sec-head">
      <h2 id="h-t">Messages per second</h2>
      <span class="aside">last ${span(seconds)}</span>
    </div>
    <div class="chart tall">
      <div class="y" aria-hidden="true">${steps.map((step) => html`<span>${tick(step)}</span>`)}</div>
      <div class="plot">
        <svg class="p" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label=${told}>
          <g class="grid">
            ${[0, 25, 50, 75].map((y) => svg`<line x1="0" x2="1000" y1=${y} y2=${y}/>`)}${svg`<line class="zero" x1="0" x2="1000" y1="100" y2="100"/>`}
          </g>
          ${svg`<path class="line" d=${linePath(shown, from, now, top)}/>`}
        </svg>
        ${rates.length ? nothing : html`<span class="tag middle">${view.state === 'running' ? 'waiting for the first figure' : 'nothing is being sent'}</span>`}
      </div>
      <div class="x" aria-hidden="true">
        ${times.map((at) => html`<span>${time(at, now, { seconds: seconds < 120 })}</span>`)}
      </div>
    </div>
  </section>`;
}

/** The top of the axis: the next of 4, 8, 20, 40, 80, ... @param {number} value */
export function scale(value) {
  for (let unit = 4; ; unit *= 10) {
    for (const top of [unit, 2 * unit, 5 * unit]) if (value <= top) return top;
  }
}

/** @param {number} value */
function tick(value) {
  return value >= 10000 ? `${count(value / 1000)}k` : count(value);
}

/**
 * The line of a chart, as the path of an svg of 1000 by 100. What is not known is a gap.
 * @param {import('../store.js').Samples} samples
 * @param {number} from
 * @param {number} to
 * @param {number} top
 */
export function linePath(samples, from, to, top) {
  let pen = 'M';
  const parts = [];
  for (const { at, rate: value } of samples) {
    if (value === null) {
      pen = 'M';
      continue;
    }
    const x = (1000 * (at - from)) / (to - from);
    parts.push(`${pen}${x.toFixed(1)} ${(100 - (100 * value) / top).toFixed(2)}`);
    pen = 'L';
  }
  return parts.join('');
}

/**
 * How many there are at each step, and what came back.
 * @param {any} view
 */
export function funnel(view) {
  const { counts, provider } = view;
  const eligible = counts.total - counts.skipped;
  const accepted = counts.sent + counts.delivered + counts.undelivered;
  const receipts = view.delivery_rate !== null;
  /** @type {[string, number | null, string][]} what, how many (null: nobody knows), class of the bar */
  const steps = [
    ['In the audience', counts.total, ''],
    ['Eligible', eligible, ''],
    ['Attempted', eligible - counts.pending, 'f-sent'],
    [`Accepted by ${provider}`, accepted, 'f-sent'],
    ['Delivered', receipts ? counts.delivered : null, 'f-delivered'],
  ];
  return html`<section aria-labelledby="h-f">
    <div class="sec-head"><h2 id="h-f">Delivery funnel</h2></div>
    <ol class="funnel">
      ${steps.map(([name, value, tone]) => step(name, value, counts.total, tone, 'no receipts have come'))}
    </ol>
    ${receipts || !counts.total ? nothing : html`<p class="hint below">Delivered is not known: no receipts have come from ${provider}.</p>`}
    ${accepted ? cameBack(view, accepted) : nothing}
  </section>`;
}

/**
 * What came back about the messages that were accepted.
 * @param {any} view
 * @param {number} accepted
 */
function cameBack(view, accepted) {
  const { counts, bounced, complaints, replies, opt_outs: optOuts } = view;
  const read = view.opt_out_rate !== null || bounced + complaints + replies + optOuts > 0;
  /** @type {[string, number, string, string][]} what, how many, class of the bar, page of the inbox */
  const all = [
    ['Undelivered', counts.undelivered, 'f-undelivered', ''],
    ['Bounces', bounced, 'f-undelivered', 'bounce'],
    ['Complaints', complaints, 'f-failed', 'complaint'],
    ['Replies', replies, 'f-sent', 'reply'],
    ['Opt-outs', optOuts, 'f-deferred', 'opt_out'],
  ];
  return html`<h3 class="back">What came back, of ${count(accepted)} accepted</h3>
    <ul class="funnel">
      ${all.map(([name, value, tone, kind]) => {
        const known = read || value > 0 || (!kind && view.delivery_rate !== null);
        const title = kind && value ? html`<a href=${address('inbox', kind)}>${name}</a>` : name;
        return step(title, known ? value : null, accepted, tone, 'nothing is read that could say');
      })}
    </ul>
    ${read ? nothing : html`<p class="hint below">No replies or bounces are read. See <a href="#/providers">Providers</a> for what is read.</p>`}`;
}

/**
 * @param {unknown} name
 * @param {number | null} value
 * @param {number} whole
 * @param {string} tone
 * @param {string} why it is not known
 */
function step(name, value, whole, tone, why) {
  return html`<li>
    <span class="cut" title=${typeof name === 'string' ? name : nothing}>${name}</span>
    <svg class="fb" aria-hidden="true">
      ${value && whole ? svg`<rect class=${tone} width="${Math.max(0.4, (100 * value) / whole).toFixed(1)}%" height="100%" rx="2"/>` : nothing}
    </svg>
    <span class="num">${value === null ? unknown(why) : count(value)}</span>
    <span class="num t3 s">${value === null || !whole ? '' : percent(value, whole)}</span>
  </li>`;
}
