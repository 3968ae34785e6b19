/** How a new campaign is started: now, in part, later, again and again, or for additions to a list. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { save } from '../draft.js';
import { count, time } from '../format.js';
import { field } from '../parts.js';
import { delayWords } from './series.js';

export const CANARY = 100; // people
const DELAYS = ['0s', '1h', '1d', '3d', '7d'];

/**
 * How a draft is started, as its file has it.
 * @param {Record<string, any>} draft
 */
export function wayOf(draft) {
  if (draft.trigger?.list) return 'trigger';
  const { every, cron, at } = draft.schedule ?? {};
  if (every || cron) return 'repeat';
  return at ? 'later' : 'watch';
}

/** @param {any} app */
export function ways(app) {
  const { page, lists } = app.state;
  const { check, draft } = page;
  const how = page.how ?? wayOf(draft);
  const canary = Math.min(CANARY, check.remaining);
  /** @type {[string, string, string][]} */
  const all = [
    ['watch', 'Everyone, and watch live', 'Opens the live view. You can close the window at any time.'],
    ['background', 'Everyone, in the background', 'hubd sends while you carry on here.'],
    ['later', 'Later', 'At a time that you choose, in your time zone.'],
    ['repeat', 'Repeatedly', 'For example every Monday. Each time creates a separate campaign with its own figures.'],
  ];
  if (check.remaining > CANARY)
    all.unshift([
      'canary',
      `First ${canary}, then pause`,
      `See how they arrive before the other ${count(check.remaining - canary)} are sent.`,
    ]);
  if (lists?.length || how === 'trigger')
    all.push([
      'trigger',
      'Whenever somebody is added to a list',
      'For example a welcome. Everyone who is added while it runs gets it once.',
    ]);
  return html`<div role="radiogroup" aria-labelledby="h-how">
    ${all.map(
      ([value, title, words]) =>
        html`<label class="choice"
          ><input
            type="radio"
            name="how"
            .checked=${how === value}
            @change=${() => app.attempt(() => choose(app, value))}
          /><span class="t">${title}</span><span class="d">${words}</span></label
        >`,
    )}
    ${how === 'later' ? later(app) : how === 'repeat' ? repeat(app) : how === 'trigger' ? onAdded(app) : nothing}
  </div>`;
}

/**
 * Choose another way: what only the previous one needs is removed from the draft.
 * @param {any} app
 * @param {string} how
 */
async function choose(app, how) {
  const { page, lists } = app.state;
  const { draft } = page;
  const before = page.how ?? wayOf(draft);
  app.patch(page, { how });
  const { every, cron, at, ...others } = draft.schedule ?? {};
  if (how !== 'repeat' && (every || cron)) draft.schedule = others;
  if (how !== 'later' && at) draft.schedule = others;
  if (how === 'trigger' && !draft.trigger?.list) {
    page.listsBefore = draft.lists;
    draft.trigger = { list: draft.lists[0] ?? lists[0].name, on: 'added', delay: '0s' };
    draft.lists = [];
  } else if (how !== 'trigger' && before === 'trigger') {
    draft.lists = page.listsBefore?.length ? page.listsBefore : [draft.trigger.list];
    delete draft.trigger;
  }
  await checkAgain(app);
}

/**
 * Save, and check again what would happen.
 * @param {any} app
 */
export async function checkAgain(app) {
  const { page } = app.state;
  if (await save(app)) app.patch(page, { check: await app.call('campaign.check', { name: page.draft.name }) });
  app.draw(true);
}

/** @param {any} app */
function later(app) {
  const { page } = app.state;
  return html`<div class="field below">
    <label for="at">Start at</label>
    <input
      class="input at"
      id="at"
      type="datetime-local"
      .value=${page.at ?? localTime(page.draft.schedule?.at)}
      @input=${(/** @type {any} */ event) => app.patch(page, { at: event.target.value })}
    />
  </div>`;
}

/** A point in time as an input field takes it, in this computer's time zone. @param {string} [at] */
export function localTime(at) {
  const date = new Date(at ?? '');
  if (Number.isNaN(date.getTime())) return '';
  return new Date(date.getTime() - 60_000 * date.getTimezoneOffset()).toISOString().slice(0, 16);
}

/** When it repeats, and the next times. @param {any} app */
function repeat(app) {
  const { page } = app.state;
  const { check, draft, faults } = page;
  const times = (check.upcoming ?? []).filter(Boolean);
  const { every = '', cron = '' } = draft.schedule ?? {};
  const hint = times.length
    ? `Next: ${times.map((/** @type {string} */ at) => time(at, Date.now())).join(', ')}`
    : 'For example monday 9:00, weekdays 8:30, monthly on the last friday 9:00.';
  return html`<div class="below">
    ${field({
      id: 'every',
      label: 'Every',
      error: faults['schedule.every'] ?? faults['schedule.cron'] ?? faults.schedule ?? '',
      hint: cron && !every ? `Set by cron = "${cron}" in its file. ${hint}` : hint,
      control: html`<input
        class="input"
        id="every"
        placeholder=${cron || 'monday 9:00'}
        .value=${page.every ?? every}
        @input=${(/** @type {any} */ event) => (page.every = event.target.value)}
        @change=${() => app.attempt(() => setRepeat(app, page.every ?? every))}
      />`,
    })}
  </div>`;
}

/**
 * Save when it repeats, in this computer's time zone; "" to stop repeating. The check then knows the next times.
 * @param {any} app
 * @param {string} every
 */
async function setRepeat(app, every) {
  const { draft } = app.state.page;
  const { every: _, cron, ...others } = draft.schedule ?? {};
  const timezone = others.timezone || Intl.DateTimeFormat().resolvedOptions().timeZone;
  draft.schedule = every.trim() ? { ...others, every: every.trim(), timezone } : { ...others, cron };
  await checkAgain(app);
}

/** Which list it waits for, and how long after that it is sent. @param {any} app */
function onAdded(app) {
  const { page, lists } = app.state;
  const { draft, faults } = page;
  const { list = '', delay = '0s' } = draft.trigger ?? {};
  const set = (/** @type {object} */ values) => {
    draft.trigger = { on: 'added', list, delay, ...values };
    return app.attempt(() => checkAgain(app));
  };
  const names = [...new Set([list, ...(lists ?? []).map((/** @type {any} */ each) => each.name)])].filter(Boolean);
  const delays = [...new Set([delay, ...DELAYS])];
  const select = (
    /** @type {string} */ id,
    /** @type {string[]} */ values,
    /** @type {string} */ chosen,
    /** @type {(value: string) => string} */ words,
  ) =>
    html`<select
      class="input"
      id=${id}
      @change=${(/** @type {any} */ event) => set({ [id.replace('trigger-', '')]: event.target.value })}
    >
      ${values.map((value) => html`<option value=${value} ?selected=${value === chosen}>${words(value)}</option>`)}
    </select>`;
  return html`<div class="below pair">
    ${field({
      id: 'trigger-list',
      label: 'Added to',
      error: faults['trigger.list'] ?? faults.trigger ?? '',
      control: select('trigger-list', names, list, (value) => value),
    })}
    ${field({
      id: 'trigger-delay',
      label: 'Sent',
      error: faults['trigger.delay'] ?? '',
      control: select('trigger-delay', delays, delay, delayWords),
    })}
  </div>`;
}
