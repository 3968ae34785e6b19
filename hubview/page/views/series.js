/** Campaigns that are sent again and again, and those that wait for additions to a list. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { change } from '../actions.js';
import { count, sentence, span, time, words } from '../format.js';
import { bar, figures, loading, state as stateMark, unknown } from '../parts.js';
import { address } from '../router.js';

const TODAY = 1000; // milliseconds in which sends are collected before today's figure is asked for
const DAYS =
  /\b(monday|tuesday|wednesday|thursday|friday|saturday|sunday|january|february|march|april|may|june|july|august|september|october|november|december)\b/gi;
const CLOCK = / (\d{1,2}(?::\d\d)?(?: ?[ap]m)?)$/i;
const ADVERB = /^(daily|weekdays|weekends|monthly|yearly)\b/i;
const CRON = /^\S+(\s+\S+){4}$/;

/**
 * When a campaign repeats, as one would say it: "Every Monday at 9:00".
 * @param {string} repeats such as "monday 9:00 (Europe/Berlin)"
 */
export function repeatWords(repeats) {
  const text = repeats.replace(/ \([^()]*\)$/, '').trim();
  if (CRON.test(text) && /[*\d]/.test(text[0])) return `By cron: ${text}`;
  const said = text.replace(DAYS, (name) => sentence(name.toLowerCase())).replace(CLOCK, ' at $1');
  return ADVERB.test(text) ? sentence(said) : `Every ${said.replace(/^every /i, '')}`;
}

/** The time zone of `repeats`. @param {string} repeats */
export function zoneOf(repeats) {
  return / \(([^()]*)\)$/.exec(repeats)?.[1] ?? '';
}

/** @type {Record<string, string>} what became of an occurrence that was not started */
const NOT_STARTED = {
  overlap: 'Skipped: the one before it had not ended',
  missed: 'Skipped: hubd was not running',
  failed: 'Failed',
};

/**
 * What became of an occurrence, as it is now.
 * @param {import('../store.js').State} state
 * @param {any} occurrence as campaign.get shows it
 * @returns {string}
 */
export function resultOf(state, { outcome, name, state: was }) {
  if (outcome !== 'started') return NOT_STARTED[outcome] ?? sentence(words(outcome));
  return sentence(words(state.campaigns.get(name)?.state ?? was ?? 'started'));
}

/**
 * A campaign that repeats, in two lines: when, and the next and the last time.
 * @param {import('../store.js').State} state
 * @param {any} view
 * @param {number} now
 */
export function inShort(state, view, now) {
  const [last] = state.occurrences.get(view.name) ?? [];
  const tone = last && ['overlap', 'missed', 'failed'].includes(last.outcome) ? 'wait' : '';
  const zone = zoneOf(view.repeats);
  return html`<div class="repeats">
    <div class="cut" title="${repeatWords(view.repeats)}, ${zone}">${repeatWords(view.repeats)}</div>
    <div class="l2 cut">
      ${view.next_at ? `next ${time(view.next_at, now)}` : 'no further time'},
      ${last ? html`last ${time(last.at, now)}: <span class=${tone}>${resultOf(state, last).toLowerCase()}</span>` : 'never sent yet'}
    </div>
  </div>`;
}

/**
 * The overview of a campaign that repeats: it sends nothing itself.
 * @param {any} app
 * @param {any} view
 * @param {number} now
 */
export function series(app, view, now) {
  const { occurrences, upcoming } = app.state.page;
  if (!occurrences) return loading('Asking hubd for its times.');
  const times = (upcoming ?? []).filter(Boolean);
  const zone = zoneOf(view.repeats);
  return html`<section class="progress" aria-label="When">
      <div class="row base">
        <span class="big">${repeatWords(view.repeats)}</span>
        <span class="t2">${zone ? `time of ${zone}` : nothing}</span>
      </div>
      <p class="t2">
        ${
          view.state === 'scheduled' && times.length
            ? `Next: ${times.map((/** @type {string} */ at) => time(at, now)).join(', ')}.`
            : view.state === 'draft'
              ? 'It begins when you start it.'
              : 'It has no further time. Start it again to continue with the next one.'
        }
        Each time, a separate campaign goes to everyone who is on its lists at that moment.
      </p>
    </section>
    <section class="sec" aria-labelledby="h-times">
      <div class="sec-head">
        <h2 id="h-times">Its times so far</h2>
        <span class="aside">${occurrences.length ? 'newest first' : nothing}</span>
      </div>
      ${occurrences.length ? table(app, occurrences, now) : html`<p class="hint">None yet.</p>`}
    </section>`;
}

/**
 * @param {any} app
 * @param {any[]} occurrences
 * @param {number} now
 */
function table(app, occurrences, now) {
  return html`<table class="table">
    <thead>
      <tr>
        <th scope="col" class="w-time">Planned for</th>
        <th scope="col">Campaign</th>
        <th scope="col" class="w-state">State</th>
        <th scope="col" class="w-half">Progress</th>
      </tr>
    </thead>
    <tbody>
      ${occurrences.map((each) => occurrence(app.state, each, now))}
    </tbody>
  </table>`;
}

/**
 * @param {import('../store.js').State} state
 * @param {any} each
 * @param {number} now
 */
export function occurrence(state, each, now) {
  const { at, outcome, detail, name } = each;
  if (outcome !== 'started') {
    return html`<tr>
      <td class="nowrap">${time(at, now)}</td>
      <td colspan="3">
        <span class=${outcome === 'failed' ? 'bad' : 'wait'}>${resultOf(state, each)}</span
        >${detail ? html`<div class="t2 s far">${sentence(detail)}</div>` : nothing}
      </td>
    </tr>`;
  }
  const live = state.campaigns.get(name);
  return html`<tr>
    <td class="nowrap">${time(at, now)}</td>
    <td class="cut">
      ${live || each.state ? html`<a class="b" href=${address('campaigns', name)}>${name}</a>` : html`${name} <span class="t3">(deleted)</span>`}
    </td>
    <td>${live || each.state ? stateMark(live?.state ?? each.state) : unknown('it was deleted')}</td>
    <td>${live ? html`${bar(live.counts)}${figures(live.counts, live.state)}` : nothing}</td>
  </tr>`;
}

/**
 * The list that a triggered campaign waits for, who waits, and what was sent today.
 * @param {any} app
 * @param {any} view
 */
export function trigger(app, view) {
  const { spec, today } = app.state.page;
  const { counts } = view;
  const delay = spec?.trigger?.delay ?? '';
  const waiting = counts.pending + counts.deferred;
  const all = [
    ['Added to', html`<span class="cut" title=${view.trigger}>${view.trigger}</span>`, delayWords(delay)],
    ['Joined so far', count(counts.total), view.state === 'running' ? 'each gets it once' : 'nobody joins now'],
    ['Waiting', count(waiting), waiting ? 'until their time comes' : ''],
    [
      'Sent today',
      today ? count(today.sent) : unknown('being asked for'),
      today?.failed ? `${count(today.failed)} failed` : '',
    ],
  ];
  return html`<section aria-label="Trigger">
    <dl class="kpis trigger">
      ${all.map(
        ([name, value, below]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${value}<small>${below}</small></dd>
          </div>`,
      )}
    </dl>
  </section>`;
}

/** @type {Record<string, number>} */
const UNITS = { s: 1, m: 60, h: 3600, d: 86400, w: 7 * 86400 };

/** How long after being added. @param {string} delay such as "0s", "1h 30m" or "2 days" */
export function delayWords(delay) {
  let seconds = 0;
  for (const [, number, unit] of delay.matchAll(/(\d+(?:\.\d+)?)\s*([a-z])/gi)) {
    seconds += Number(number) * (UNITS[unit.toLowerCase()] ?? 1);
  }
  return seconds ? `${span(seconds)} later` : 'at once';
}

/**
 * What was sent today, in this computer's time zone.
 * @param {any} app
 * @param {string} name
 */
export async function loadToday(app, name) {
  const { page } = app.state;
  const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? '';
  const { total } = await app.call('report.get', { names: [name], since: 'today', timezone });
  app.patch(page, { today: total });
}

/**
 * A triggered campaign has sent more: ask for today's figure again, but no more often than needed.
 * @param {any} app
 * @param {any} view as it is now
 */
export function keepToday(app, view) {
  const { page } = app.state;
  const accepted = view.counts.sent + view.counts.delivered + view.counts.undelivered;
  if (!view.trigger || page.asking || page.accepted === accepted) return;
  page.accepted = accepted;
  page.asking = setTimeout(() => {
    page.asking = undefined;
    if (page === app.state.page) app.attempt(() => loadToday(app, view.name));
  }, TODAY);
}

/**
 * Ask before a campaign stops repeating.
 * @param {any} app
 * @param {string} name
 */
export function askStopSeries(app, name) {
  app.ask({
    kind: 'ask',
    danger: true,
    title: `Stop repeating ${name}?`,
    words: 'It will not be sent again unless you restart it; it then continues with the next time.',
    get effects() {
      return stopEffects(app.state, name);
    },
    button: 'Stop repeating',
    act: () => change(app, 'campaign.stop', { name }),
  });
}

/**
 * What stopping a series does, for the question before it.
 * @param {import('../store.js').State} state
 * @param {string} name
 * @returns {[string, string][]}
 */
export function stopEffects(state, name) {
  const begun = [...state.campaigns.values()].filter(
    (each) => each.series === name && ['running', 'paused', 'scheduled'].includes(each.state),
  ).length;
  return [
    ['0', 'further times, until you start it again'],
    [
      count(begun),
      begun === 1 ? 'of its campaigns has begun and continues' : 'of its campaigns have begun and continue',
    ],
  ];
}
