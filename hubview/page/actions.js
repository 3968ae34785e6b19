/** Starting, pausing, resuming and stopping a campaign: what reaches people has its numbers before the click. */

import { html, nothing } from './vendor/lit-html/lit-html.js';
import { HubError } from './client.js';
import { count, span, time } from './format.js';
import { note, peopleWord } from './parts.js';

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
export function waiting(view) {
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
    get effects() {
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
        [count(counts.sent + counts.delivered), 'already have it; that cannot be undone'],
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
 * Start with a question: how many get it, who is left out, what is wrong, how long it takes.
 * @param {any} app
 * @param {string} name
 * @param {{limit?: number | null, at?: string, then?: () => void}} [how]
 */
export async function askStart(app, name, { limit = null, at, then } = {}) {
  const { state, trigger } = app.state.campaigns.get(name) ?? {};
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
  const waits = () => Boolean(trigger) && !own.would.remaining; // for contacts added later; nobody gets it now
  app.ask({
    kind: 'ask',
    title: state === 'draft' || state === 'scheduled' || !state ? `Start ${name}?` : `Start ${name} again?`,
    get words() {
      if (waits()) return `Everybody who is added to ${trigger} from now on gets it, once. Those already on it do not.`;
      return own.would.remaining ? nothing : 'Nobody is left who could get this message.';
    },
    get effects() {
      const { would } = own;
      if (waits()) return [];
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
          ? [[span(would.estimate.seconds), 'until the last one is sent, given the limits that are set']]
          : []),
      ];
    },
    get body() {
      return risks(app, own);
    },
    get button() {
      if (waits()) return 'Start it';
      if (own.would.upcoming?.length) return 'Repeat it';
      return own.at ? `Schedule for ${peopleWord(people())}` : `Start with ${peopleWord(people())}`;
    },
    get disabled() {
      return blocked().length > 0 || !(own.would.remaining || waits());
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
    [count(remaining), 'people are on its lists now; everybody on them at each of its times gets that message'],
    ...upcoming.map((/** @type {string} */ at) => [time(at, Date.now()), 'it is sent']),
  ];
}

/**
 * What is wrong; a risk can be accepted, the rest has to be fixed first.
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
