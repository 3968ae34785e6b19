/** What can be done to a campaign besides sending it: its limit, a copy, the archive, deleting it. */

import { html } from './vendor/lit-html/lit-html.js';
import { change } from './actions.js';
import { count } from './format.js';
import { FINISHED, peopleWord } from './parts.js';
import { address } from './router.js';

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
      'For example 20/s or 500/hour. Separate several limits with commas. Leave empty for as fast as the provider allows.',
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
    words: 'The copy is a draft with the same lists and content. Nothing is sent until you start it.',
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
      ? 'Everything recorded about it is deleted: who got it, what was said, why it failed. Archiving only hides it.'
      : 'Nobody has received it yet. Your contacts are kept.',
    effects: total ? [[count(total), 'recipients with their history are deleted for good']] : [],
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
