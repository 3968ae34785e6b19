/** Trying failures again, and deciding about what is in doubt: each with its numbers before the click. */

import { html } from './vendor/lit-html/lit-html.js';
import { change } from './actions.js';
import { HubError } from './client.js';
import { count, plural } from './format.js';
import { peopleWord } from './parts.js';

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
    get effects() {
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
