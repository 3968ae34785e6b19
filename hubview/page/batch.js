/** Doing one thing to several campaigns: the numbers of all of them before the click, a row of each after it. */

import { html, nothing } from './vendor/lit-html/lit-html.js';
import { change, waiting } from './actions.js';
import { HubError } from './client.js';
import { count, plural, sentence } from './format.js';
import { FINISHED, peopleWord, state as stateMark } from './parts.js';

/**
 * @typedef {'start' | 'pause' | 'resume' | 'stop' | 'delete'} Verb
 * @typedef {object} Row what is known of one campaign in the question
 * @property {string} name
 * @property {number} people whom it reaches
 * @property {string} [why] why it is left as it is
 * @property {'waits' | 'done' | 'failed'} [result]
 * @property {string} [words] what became of it
 */

/**
 * @type {Record<Verb, {words: string, done: string, states: string[], danger?: boolean, button: (n: string, people: string) => string, people: (view: any) => number, effects: (views: any[], people: number) => [string, string][]}>}
 */
export const VERBS = {
  start: {
    words: 'Start',
    done: 'started',
    states: ['draft', 'stopped', 'failed'],
    people: () => 0, // asked for: it depends on the lists
    effects: (_views, people) => [[count(people), 'messages are sent, beginning now']],
    button: (n, people) => `Start ${n} for ${people}`,
  },
  pause: {
    words: 'Pause',
    done: 'paused',
    states: ['running'],
    people: waiting,
    effects: (views, people) => [
      [count(people), 'people wait until you resume'],
      [count(sum(views, (view) => view.counts.sending)), 'messages are being sent now and will finish'],
    ],
    button: (n) => `Pause ${n}`,
  },
  resume: {
    words: 'Resume',
    done: 'resumed',
    states: ['paused'],
    people: waiting,
    effects: (_views, people) => [[count(people), 'people who wait get the message, beginning now']],
    button: (n, people) => `Resume ${n} for ${people}`,
  },
  stop: {
    words: 'Stop',
    done: 'stopped',
    states: ['running', 'paused', 'scheduled'],
    danger: true,
    people: waiting,
    effects: (views, people) => [
      [count(people), 'people will not get the message'],
      [count(sum(views, (view) => view.counts.sending)), 'messages are being sent now and will finish'],
      [count(sum(views, (view) => view.counts.sent + view.counts.delivered)), 'already have it; that cannot be undone'],
    ],
    button: (n, people) => `Stop ${n}, leave ${people} out`,
  },
  delete: {
    words: 'Delete',
    done: 'deleted',
    states: ['draft', ...FINISHED],
    danger: true,
    people: (view) => view.counts.total,
    effects: (_views, people) =>
      people
        ? [[count(people), 'recipients with their history are deleted for good']]
        : [['0', 'people got any of them']],
    button: (n, people) => `Delete ${n} with the history of ${people}`,
  },
};

/**
 * @param {any[]} views
 * @param {(view: any) => number} number
 */
function sum(views, number) {
  return views.reduce((all, view) => all + number(view), 0);
}

/**
 * The campaigns to which it can be done.
 * @param {Verb} verb
 * @param {any[]} views
 */
export function fitting(verb, views) {
  return views.filter((view) => VERBS[verb].states.includes(view.state));
}

/**
 * Ask, with the numbers of each; afterwards the same dialog says what became of each.
 * @param {any} app
 * @param {Verb} verb
 * @param {string[]} names
 */
export async function askBatch(app, verb, names) {
  const how = VERBS[verb];
  const view = (/** @type {string} */ name) => app.state.campaigns.get(name);
  /** @type {Row[]} */
  let rows = [];
  const look = async () => (rows = await Promise.all(names.map((name) => looked(app, verb, name))));
  if (!(await app.attempt(look))) return;
  const meant = () => rows.filter((row) => !row.why);
  const people = () => sum(meant(), (row) => row.people);
  /** @type {any} */
  const dialog = {
    kind: 'ask',
    wide: true,
    danger: how.danger,
    get title() {
      return dialog.done ? outcome(rows, how.done) : `${how.words} ${plural(meant().length, 'campaign')}?`;
    },
    get words() {
      const left = rows.length - meant().length;
      return !dialog.done && left
        ? `${plural(left, 'campaign')} will be left as ${left === 1 ? 'it is' : 'they are'}.`
        : nothing;
    },
    get effects() {
      if (dialog.done || dialog.busy) return [];
      return how.effects(
        meant()
          .map((row) => view(row.name))
          .filter(Boolean),
        people(),
      );
    },
    get body() {
      return table(rows, view);
    },
    get button() {
      const campaigns = plural(meant().length, 'campaign');
      return people() ? how.button(campaigns, peopleWord(people())) : `${how.words} ${campaigns}`;
    },
    get disabled() {
      return !meant().length;
    },
    act: async () => {
      const shown = key(rows);
      await look();
      if (verb !== 'pause' && verb !== 'stop' && key(rows) !== shown) {
        throw new HubError({
          message: 'The numbers changed while the question was open',
          hint: 'Look at them again before you continue.',
        });
      }
      for (const row of meant()) row.result = 'waits';
      app.draw(true);
      await Promise.all(meant().map((row) => carryOut(app, verb, row)));
      app.state.page.chosen = new Set(rows.filter((row) => row.result === 'failed').map((row) => row.name));
      dialog.done = true;
    },
  };
  app.ask(dialog);
}

/** What the question said of each. @param {Row[]} rows */
function key(rows) {
  return JSON.stringify(rows.map(({ name, people, why }) => [name, people, why]));
}

/**
 * How many people one campaign reaches, or why it is left as it is.
 * @param {any} app
 * @param {Verb} verb
 * @param {string} name
 * @returns {Promise<Row>}
 */
async function looked(app, verb, name) {
  try {
    const answer = await app.call(`campaign.${verb}`, { name, dry_run: true });
    if (answer.campaign) app.state.campaigns.set(name, answer.campaign);
    if (verb === 'start') {
      const { problems = [], remaining = 0, change: changes } = answer.would;
      if (problems.length) return { name, people: 0, why: problems[0].problem };
      if (changes === false) return { name, people: 0, why: 'it is already running' };
      return { name, people: remaining, why: remaining ? undefined : 'nobody is left to send it to' };
    }
    if (answer.would?.change === false) return { name, people: 0, why: `it is already ${answer.would.state}` };
    return { name, people: VERBS[verb].people(app.state.campaigns.get(name)) };
  } catch (error) {
    if (!(error instanceof HubError) || error.code === 'disconnected') throw error;
    return { name, people: 0, why: error.message };
  }
}

/**
 * @param {any} app
 * @param {Verb} verb
 * @param {Row} row
 */
async function carryOut(app, verb, row) {
  try {
    await change(app, `campaign.${verb}`, { name: row.name });
    row.result = 'done';
    row.words = VERBS[verb].done;
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    row.result = 'failed';
    row.words = [error.message, error.hint].filter(Boolean).map(sentence).join('. ');
  }
  app.touch(row.name);
  app.draw(true);
}

/**
 * @param {Row[]} rows
 * @param {string} done such as "paused"
 */
export function outcome(rows, done) {
  const meant = rows.filter((row) => row.result);
  const well = meant.filter((row) => row.result === 'done').length;
  if (well === meant.length) return `${plural(well, 'campaign')} ${done}`;
  return `${count(well)} of ${plural(meant.length, 'campaign')} ${done}`;
}

/**
 * @param {Row[]} rows
 * @param {(name: string) => any} view
 */
function table(rows, view) {
  return html`<div class="batch" tabindex="0" role="region" aria-label="Campaigns">
    <table class="table flat">
      <thead>
        <tr>
          <th scope="col">Campaign</th>
          <th scope="col" class="w-state">State</th>
          <th scope="col" class="num">People</th>
          <th scope="col">Result</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map((row) => {
          const known = view(row.name);
          return html`<tr>
            <td class="b cut" title=${row.name}>${row.name}</td>
            <td>${known ? stateMark(known.state) : html`<span class="none">-</span>`}</td>
            <td class="num">${row.why ? html`<span class="none">-</span>` : count(row.people)}</td>
            <td class="t2">${result(row)}</td>
          </tr>`;
        })}
      </tbody>
    </table>
  </div>`;
}

/** @param {Row} row */
function result(row) {
  if (row.why) return `Left as it is: ${row.why}`;
  if (row.result === 'waits') return 'Under way';
  if (row.result === 'failed') return html`<span class="bad">${row.words}</span>`;
  return row.result ? sentence(row.words ?? '') : '';
}
