/** What a person can do to campaigns, each with its numbers before the click. */

import { html, nothing } from './vendor/lit-html/lit-html.js';
import { HubError } from './client.js';
import { count, plural, span, time } from './format.js';
import { FINISHED, note, peopleWord } from './parts.js';
import { address } from './router.js';

/**
 * A request that changes something: sent twice under one key, it is done once.
 * @param {any} app
 * @param {string} method
 * @param {object} params
 */
export function change(app, method, params) {
  return app.call(method, { ...params, idempotency_key: crypto.randomUUID() });
}

/** Those who still wait for the message. @param {Record<string, any>} view */
function waiting(view) {
  return view.counts.pending + view.counts.deferred;
}

/**
 * Pause or resume at once: nothing is lost by either.
 * @param {any} app
 * @param {string} name
 * @param {'pause' | 'resume'} verb
 */
export async function pauseOrResume(app, name, verb) {
  const { busy } = app.state;
  if (busy.has(name)) return;
  busy.set(name, verb);
  app.draw(true);
  await app.attempt(() => change(app, `campaign.${verb}`, { name }));
  busy.delete(name);
  app.touch(name);
  app.draw(true);
}

/**
 * @param {any} app
 * @param {string} name
 */
export function askStop(app, name) {
  const view = () => app.state.campaigns.get(name) ?? { counts: {} };
  const stop = () => change(app, 'campaign.stop', { name });
  /** @type {any} */
  const dialog = {
    kind: 'ask',
    danger: true,
    title: `Stop ${name}?`,
    words:
      view().state === 'scheduled'
        ? 'It will not start by itself. You can start it later.'
        : 'You can start it again later; it continues with the remaining recipients. If you only need a moment, pause it.',
    get blast() {
      const { counts } = view();
      return [
        [
          count(waiting(view())),
          `people will not get the message (${count(counts.pending)} pending, ${count(counts.deferred)} deferred)`,
        ],
        [
          count(counts.sending),
          counts.sending === 1
            ? 'message is being sent now and will finish'
            : 'messages are being sent now and will finish',
        ],
        [count(counts.sent + counts.delivered), 'have it already; that cannot be taken back'],
      ];
    },
    get button() {
      return `Stop, leave ${count(waiting(view()))} out`;
    },
    act: stop,
  };
  if (view().state === 'running') {
    dialog.instead = { label: 'Pause instead', act: () => pauseOrResume(app, name, 'pause') };
  }
  app.ask(dialog);
}

/**
 * Start with a question: how many get it, who is left out, what is not in order, how long it takes.
 * @param {any} app
 * @param {string} name
 * @param {{limit?: number | null, at?: string, then?: () => void}} [how]
 */
export async function askStart(app, name, { limit = null, at, then } = {}) {
  const state = app.state.campaigns.get(name)?.state;
  /** @type {any} */
  const own = { accepted: new Set(), limit, at };
  const look = async () => {
    const asked = {
      name,
      dry_run: true,
      ...(own.limit ? { limit: own.limit } : {}),
      ...(own.at ? { at: own.at } : {}),
    };
    own.would = (await app.call('campaign.start', asked)).would;
  };
  if ((await app.attempt(async () => (await look(), true))) !== true) return;
  const people = () => Math.min(own.limit ?? Infinity, own.would.remaining);
  const blocked = () =>
    own.would.problems.filter((/** @type {any} */ each) => !own.accepted.has(each.risk) || !each.risk);
  app.ask({
    kind: 'ask',
    title: state === 'draft' || state === 'scheduled' || !state ? `Start ${name}?` : `Start ${name} again?`,
    get words() {
      return own.would.remaining ? nothing : 'Nobody is left who could get this message.';
    },
    get blast() {
      const { would } = own;
      if (would.upcoming?.length) return times(would);
      const skipped = Object.entries(would.skipped).map(
        ([why, number]) => `${count(Number(number))} ${why.replaceAll('_', ' ')}`,
      );
      const left = would.remaining - people();
      return [
        [
          count(people()),
          own.at ? `people get the message, beginning at ${own.at}` : 'people get the message, beginning now',
        ],
        ...(left > 0 ? [[count(left), 'wait until you resume it']] : []),
        ...(skipped.length ? [['-', `left out: ${skipped.join(', ')}`]] : []),
        ...(would.estimate.seconds
          ? [[span(would.estimate.seconds), 'until the last one is sent, by the limits that are set']]
          : []),
      ];
    },
    get body() {
      return risks(app, own);
    },
    get button() {
      if (own.would.upcoming?.length) return 'Repeat it';
      return own.at ? `Schedule for ${peopleWord(people())}` : `Start with ${peopleWord(people())}`;
    },
    get disabled() {
      return blocked().length > 0 || !own.would.remaining;
    },
    act: async () => {
      const shown = people();
      await look();
      if (people() !== shown || blocked().length) {
        throw new HubError({
          message: `This changed while the question was open: it is ${peopleWord(people())} now`,
          hint: 'Look at the numbers again before you start.',
        });
      }
      await change(app, 'campaign.start', {
        name,
        accept_risk: [...own.accepted],
        ...(own.limit ? { limit: own.limit } : {}),
        ...(own.at ? { at: own.at } : {}),
      });
      app.touch(name);
      then?.();
    },
  });
}

/**
 * What a campaign that repeats will do.
 * @param {any} would
 * @returns {[string, string][]}
 */
function times({ upcoming, remaining }) {
  return [
    [count(remaining), 'people are on its lists now; who is on them at each of its times gets that message'],
    ...upcoming.map((/** @type {string} */ at) => [time(at, Date.now()), 'it is sent']),
  ];
}

/**
 * What is not in order; a risk can be taken, the rest has to be put right first.
 * @param {any} app
 * @param {any} own
 */
function risks(app, own) {
  const { problems, warnings } = own.would;
  if (!problems.length && !warnings.length) return nothing;
  return html`<div class="stack">
    ${problems.map((/** @type {any} */ each) =>
      note(
        each.risk ? 'wait' : 'bad',
        each.risk ? 'warning' : 'cross',
        html`${each.problem}
        ${
          each.risk
            ? html`<label class="check s risk"
                ><input
                  type="checkbox"
                  .checked=${own.accepted.has(each.risk)}
                  @change=${(/** @type {any} */ event) => {
                    own.accepted[event.target.checked ? 'add' : 'delete'](each.risk);
                    app.draw(true);
                  }}
                /><span>Start anyway</span></label
              >`
            : nothing
        }`,
      ),
    )}
    ${warnings.map((/** @type {string} */ words) => note('', 'info', words))}
  </div>`;
}

const CLASSES = { transient: 'that may succeed now', permanent: 'that were refused for good', all: '' };

/**
 * Queue failures again.
 * @param {any} app
 * @param {string} name
 * @param {'transient' | 'permanent' | 'all'} kind
 */
export async function askRetry(app, name, kind) {
  const asked = { name, class: kind };
  const look = async () => (await app.call('campaign.retry', { ...asked, dry_run: true })).would;
  let would = await app.attempt(look);
  if (!would) return;
  const number = () => would.retried ?? 0;
  app.ask({
    kind: 'ask',
    title: `Retry ${plural(number(), 'failure')} of ${name}?`,
    get blast() {
      return [
        [count(number()), `people ${CLASSES[kind]} get another attempt`],
        ['0', 'people can get it twice: all of these were certainly refused'],
        ...(would.suppressed ? [[count(would.suppressed), 'stay failed, because their address is suppressed']] : []),
      ];
    },
    get button() {
      return `Retry ${count(number())}`;
    },
    get disabled() {
      return !number();
    },
    act: async () => {
      const shown = number();
      would = await look();
      if (number() !== shown)
        throw new HubError({ message: `It is ${count(number())} now`, hint: 'Look at the numbers again.' });
      await change(app, 'campaign.retry', asked);
      app.touch(name);
      app.refresh();
    },
  });
}

/** @type {['resend' | 'sent' | 'failed', string, (n: string) => string][]} */
const DECISIONS = [
  ['sent', 'Count them as sent', (n) => `${n} stay as they are. Whoever did not get it will not get it.`],
  ['resend', 'Send them again', (n) => `${n} get the text, and those who got it already get it twice.`],
  ['failed', 'Count them as failed', (n) => `${n} stay as they are. You can retry them later.`],
];

/**
 * Decide about what is in doubt.
 * @param {any} app
 * @param {string} name
 */
export function askDecide(app, name) {
  const number = () => app.state.campaigns.get(name)?.counts.in_doubt ?? 0;
  const own = { choice: 'sent' };
  app.ask({
    kind: 'ask',
    title: `${plural(number(), 'message')} of ${name} ${number() === 1 ? 'is' : 'are'} in doubt`,
    words:
      'The connection broke after the message was handed over and before the answer came. Nobody knows whether they got it.',
    get body() {
      return html`<div role="radiogroup" aria-labelledby="dialog-title">
        ${DECISIONS.map(
          ([value, title, words]) =>
            html`<label class="choice"
              ><input
                type="radio"
                name="decision"
                value=${value}
                .checked=${own.choice === value}
                @change=${() => {
                  own.choice = value;
                  app.draw(true);
                }}
              /><span class="t">${title}</span><span class="d">${words(peopleWord(number()))}</span></label
            >`,
        )}
      </div>`;
    },
    get danger() {
      return own.choice === 'resend';
    },
    get button() {
      const verb = { sent: 'Count as sent', resend: 'Send again', failed: 'Count as failed' }[own.choice];
      return `${verb}: ${count(number())}`;
    },
    act: async () => {
      const shown = number();
      const { would } = await app.call('campaign.retry', { name, in_doubt: own.choice, dry_run: true });
      if (would.decided !== shown) {
        app.touch(name);
        throw new HubError({ message: `It is ${count(would.decided ?? 0)} now`, hint: 'Look at the numbers again.' });
      }
      await change(app, 'campaign.retry', { name, in_doubt: own.choice });
      app.touch(name);
      app.refresh();
    },
  });
}

/**
 * @param {any} app
 * @param {string} name
 */
export function askRate(app, name) {
  const own = { rate: (app.state.campaigns.get(name)?.rates ?? []).join(', ') };
  app.ask({
    kind: 'ask',
    title: `How fast may ${name} send?`,
    words:
      'Such as 20/s or 500/hour. Several limits, separated by commas, hold at once. Empty: as fast as the provider allows.',
    get body() {
      return html`<input
        class="input"
        aria-label="Limit"
        autofocus
        .value=${own.rate}
        @input=${(/** @type {any} */ event) => (own.rate = event.target.value)}
      />`;
    },
    button: 'Set the limit',
    act: async () => {
      const rates = own.rate
        .split(',')
        .map((/** @type {string} */ each) => each.trim())
        .filter(Boolean);
      await change(app, 'campaign.rate', { name, rate: rates.length ? rates : null });
      app.touch(name);
    },
  });
}

/**
 * @param {any} app
 * @param {string} name
 */
export function askClone(app, name) {
  const own = { name: `${name}-copy`.slice(0, 64) };
  app.ask({
    kind: 'ask',
    title: `Copy ${name}`,
    words: 'The copy is a draft with the same lists and content. Nobody has got it yet.',
    get body() {
      return html`<input
        class="input"
        aria-label="Name of the copy"
        autofocus
        .value=${own.name}
        @input=${(/** @type {any} */ event) => (own.name = event.target.value)}
      />`;
    },
    button: 'Make the copy',
    act: async () => {
      await change(app, 'campaign.clone', { name, new: own.name.trim() });
      app.touch(own.name.trim());
      app.go(address('new', own.name.trim()));
    },
  });
}

/**
 * @param {any} app
 * @param {string} name
 */
export function askDelete(app, name) {
  const view = app.state.campaigns.get(name);
  const total = view?.counts.total ?? 0;
  app.ask({
    kind: 'ask',
    danger: true,
    title: `Delete ${name}?`,
    words: total
      ? 'Everything that is known of it is deleted: who got it, what was said, why it failed. Archiving only hides it.'
      : 'Nobody got it yet. The contacts stay.',
    blast: total ? [[count(total), 'recipients with their history are deleted for good']] : [],
    button: total ? `Delete the history of ${peopleWord(total)}` : 'Delete the draft',
    act: async () => {
      await change(app, 'campaign.delete', { name });
      app.go('#/');
    },
    instead:
      total && FINISHED.includes(view.state)
        ? { label: 'Archive instead', act: () => archive(app, [name]) }
        : undefined,
  });
}

/**
 * Hide campaigns that have ended.
 * @param {any} app
 * @param {string[]} names
 * @param {boolean} [archived]
 */
export async function archive(app, names, archived = true) {
  for (const name of names) await change(app, 'campaign.archive', { name, archived });
  for (const name of names) app.state.archived[archived ? 'add' : 'delete'](name);
  app.draw(true);
}
