/** What several views show: states, bars, figures, notes. Pure functions from values to templates. */

import { html, nothing, svg } from './vendor/lit-html/lit-html.js';
import { count, plural, sentence, words } from './format.js';
import { icon } from './icons.js';

/** The states of deliveries in the order of every bar and every list of figures. */
export const ORDER = [
  'delivered',
  'sent',
  'in_doubt',
  'undelivered',
  'failed',
  'skipped',
  'deferred',
  'sending',
  'pending',
];
/** States after which nothing more happens by itself. */
export const FINISHED = ['completed', 'stopped', 'failed'];
const SMALLEST = 1.1; // per cent of a bar, so that whatever is not 0 is visible

/** @type {Record<string, import('./icons.js').IconName>} */
const SHAPES = {
  draft: 'open',
  scheduled: 'clock',
  running: 'play',
  paused: 'pause',
  stopped: 'stop',
  completed: 'done',
  failed: 'cross',
  pending: 'open',
  deferred: 'clock',
  sending: 'arrow',
  sent: 'sent',
  delivered: 'done',
  undelivered: 'cross',
  skipped: 'skipped',
  in_doubt: 'doubt',
};

/** @param {string} name the state of a campaign or of a delivery */
export function state(name) {
  return html`<span class="state ${name}">${icon(SHAPES[name] ?? 'open')}${sentence(words(name))}</span>`;
}

/**
 * The parts of a bar: per cent from where, how wide. What is not 0 gets at least SMALLEST, taken from the widest.
 * @param {Record<string, number>} counts
 * @returns {{name: string, from: number, width: number}[]}
 */
export function segments(counts) {
  const total = counts.total || 0;
  if (!total) return [];
  const shown = ORDER.filter((name) => counts[name] > 0 && name !== 'pending' && name !== 'sending');
  const widths = shown.map((name) => Math.max((100 * counts[name]) / total, SMALLEST));
  const rest = (100 * ((counts.pending ?? 0) + (counts.sending ?? 0))) / total;
  const excess = widths.reduce((sum, width) => sum + width, 0) - (100 - (rest > 0 ? Math.min(rest, SMALLEST) : 0));
  if (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    widths[widest] = Math.max(SMALLEST, widths[widest] - excess);
  }
  let from = 0;
  return shown.map((name, index) => {
    const part = { name, from, width: widths[index] };
    from += widths[index];
    return part;
  });
}

/** @param {Record<string, number>} counts all that is not 0, in words */
export function spoken(counts) {
  const told = ORDER.filter((name) => counts[name] > 0).map((name) => `${count(counts[name])} ${words(name)}`);
  return told.length ? told.join(', ') : 'nothing sent';
}

/**
 * @param {Record<string, number>} counts
 * @param {string} [size] "l" or "xs"
 */
export function bar(counts, size = '') {
  return html`<svg class="bar ${size}" role="img" aria-label=${spoken(counts)}>
    ${segments(counts).map(
      (part) =>
        svg`<rect class="f-${part.name}" x="${part.from.toFixed(2)}%" width="${part.width.toFixed(2)}%" height="100%"/>`,
    )}
  </svg>`;
}

/** @param {number} total how many characters a live figure can take: reserves its width */
export function widthClass(total) {
  const length = count(total).length;
  return length >= 9 ? 'w7' : length > 5 ? 'w6' : length > 3 ? 'w5' : '';
}

/**
 * The figures under a bar. Where they do not fit, whole ones drop out from the end; what is pending always stays.
 * @param {Record<string, number>} counts
 * @param {string} campaignState
 */
export function figures(counts, campaignState) {
  const lost = (counts.undelivered ?? 0) + (counts.failed ?? 0);
  const lostWord = counts.undelivered ? 'not delivered' : 'failed';
  /** @type {[string, number, string][]} */
  const all = [
    ['', counts.delivered, 'delivered'],
    ['', counts.delivered ? 0 : counts.sent, 'sent'],
    ['bad', lost, lostWord],
    ['doubt', counts.in_doubt, 'in doubt'],
    ['wait', counts.deferred, 'deferred'],
    ['', counts.delivered ? counts.sent : 0, 'sent'],
    ['', counts.skipped, 'skipped'],
  ];
  const shown = all.filter(([, value]) => value > 0);
  const waiting = (counts.pending ?? 0) + (counts.sending ?? 0);
  return html`<div class="figs ${widthClass(counts.total)}">
    <div>
      ${
        shown.length
          ? shown.map(([tone, value, word]) => html`<span class=${tone}><b>${count(value)}</b> ${word}</span> `)
          : html`<span>${counts.total ? 'nothing sent yet' : emptyWord(campaignState)}</span>`
      }
    </div>
    ${
      counts.total
        ? html`<span class="end"
            ><b>${count(waiting)}</b> ${campaignState === 'stopped' ? 'not sent' : 'pending'}</span
          >`
        : nothing
    }
  </div>`;
}

/** @param {string} campaignState */
function emptyWord(campaignState) {
  return campaignState === 'draft' || campaignState === 'scheduled' ? 'counted when it starts' : 'no recipients';
}

/**
 * One sentence that must be seen.
 * @param {'' | 'wait' | 'bad' | 'good' | 'doubt'} kind
 * @param {import('./icons.js').IconName} shape
 * @param {unknown} words
 * @param {unknown} [actions]
 */
export function note(kind, shape, words, actions = nothing) {
  const role = kind === 'bad' ? 'alert' : nothing;
  return html`<div class="note ${kind}" role=${role}>
    ${icon(shape, kind ? '' : 't2')}
    <div class="grow">${words}</div>
    ${actions === nothing ? nothing : html`<div class="actions">${actions}</div>`}
  </div>`;
}

/**
 * An error that the daemon or this page found, with its next step.
 * @param {{message: string, hint?: string} | null | undefined} error
 */
export function failure(error) {
  if (!error) return nothing;
  return note(
    'bad',
    'cross',
    html`<b class="b">${sentence(error.message)}</b>${
        error.hint ? html`<div class="t2 s">${sentence(error.hint)}</div>` : nothing
      }`,
  );
}

/** What stands where nothing is known. @param {string} why */
export function unknown(why) {
  return html`<span class="none" title=${why}>-<span class="vh"> ${why}</span></span>`;
}

/** @param {string} words something is being fetched */
export function loading(words) {
  return html`<p class="hint loading" role="status">${words}</p>`;
}

/**
 * An empty list: what it is for, and the step that fills it.
 * @param {string} title
 * @param {unknown} words
 * @param {unknown} [action]
 */
export function empty(title, words, action = nothing) {
  return html`<div class="blank">
    <h2>${title}</h2>
    <p class="t2">${words}</p>
    ${action}
  </div>`;
}

/**
 * The title of a page.
 * @param {unknown} title
 * @param {unknown} sub
 * @param {unknown} [actions]
 */
export function pageHead(title, sub, actions = nothing) {
  return html`<div class="head">
    <div class="grow">
      <h1 class="cut">${title}</h1>
      <p class="sub">${sub}</p>
    </div>
    <div class="actions">${actions}</div>
  </div>`;
}

/**
 * A field with its label, and its fault below it.
 * @param {{id: string, label: unknown, control: unknown, hint?: unknown, error?: string}} field
 */
export function field({ id, label, control, hint = nothing, error = '' }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${control}
    ${
      error
        ? html`<p class="err" id="${id}-error">${icon('cross')}${sentence(error)}</p>`
        : hint === nothing
          ? nothing
          : html`<p class="hint">${hint}</p>`
    }
  </div>`;
}

/** The colours of the bars. */
export function legend() {
  const names = ORDER.filter((name) => name !== 'sending');
  return html`<p class="legend">
    ${names.map(
      (name) =>
        html`<span
          ><svg class="key" aria-hidden="true"><rect class="f-${name}" width="100%" height="100%" /></svg>${sentence(
            words(name),
          )}</span
        >`,
    )}
  </p>`;
}

/**
 * @param {number} people
 * @param {string} [many]
 */
export function peopleWord(people, many = 'people') {
  return plural(people, 'person', many);
}
