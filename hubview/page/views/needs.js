/** What waits for a person: one line what, one line why, one action. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { askDecide } from '../actions-failures.js';
import { plural, sentence, time } from '../format.js';
import { icon } from '../icons.js';
import { address } from '../router.js';
import { mayChange } from '../store.js';
import { brokenSource } from './inbox.js';

/**
 * @param {any} app
 * @param {{kind: string, name: string, count?: number, reason?: string, at?: string}[]} waiting
 */
export function needsYou(app, waiting) {
  return html`<section aria-labelledby="h-needs">
    <div class="sec-head">
      <h2 id="h-needs">Needs you</h2>
      <span class="t3 s">${waiting.length}</span>
    </div>
    <ul class="needs">
      ${repeat(
        waiting,
        (each) => `${each.kind} ${each.name}`,
        (each) => need(app, each),
      )}
    </ul>
  </section>`;
}

/**
 * @param {any} app
 * @param {{kind: string, name: string, count?: number, reason?: string, at?: string}} each
 */
function need(app, each) {
  const [shape, tone, what, why, action] = needWords(app, each);
  return html`<li>
    ${icon(shape, tone)}
    <div class="cut">
      <div class="what cut" title=${what}>${what}</div>
      <div class="t2 s cut" title=${why}>${why}</div>
    </div>
    ${action}
  </li>`;
}

/**
 * @param {any} app
 * @param {{kind: string, name: string, count?: number, reason?: string, at?: string}} each
 * @returns {[import('../icons.js').IconName, string, string, string, unknown]}
 */
function needWords(app, { kind, name, count: number = 0, reason = '', at }) {
  const show = html`<a class="btn btn-s" href=${address('campaigns', name)}>Show</a>`;
  switch (kind) {
    case 'in_doubt': {
      const decide = html`<button class="btn btn-s" @click=${() => askDecide(app, name)}>Decide…</button>`;
      const what = `${plural(number, 'message')} of ${name} ${number === 1 ? 'is' : 'are'} in doubt`;
      return [
        'doubt',
        'doubt',
        what,
        'The connection broke before the answer came.',
        mayChange(app.state) ? decide : show,
      ];
    }
    case 'failed':
      return ['cross', 'bad', `${name} failed`, sentence(reason), show];
    case 'provider': {
      const link = html`<a class="btn btn-s" href="#/providers">Show ${name}</a>`;
      return ['plug', 'wait', `${name} is not sending`, sentence(reason), link];
    }
    case 'mailbox': {
      const link = html`<a class="btn btn-s" href="#/providers">Show it</a>`;
      const what = at ? `has not been read since ${time(at, Date.now())}` : 'cannot be read';
      return ['tray', 'bad', name === 'listener' ? brokenSource(name) : `The ${name} ${what}`, sentence(reason), link];
    }
    case 'sink': {
      const link = html`<a class="btn btn-s" href="#/sinks">Show the sinks</a>`;
      return ['share', 'bad', `The sink ${name} is paused`, sentence(reason), link];
    }
    case 'replies': {
      const link = html`<a class="btn btn-s" href="#/inbox/waiting">Decide…</a>`;
      const what = `${plural(number, 'reply waits', 'replies wait')} for your decision`;
      return ['doubt', 'wait', what, 'Nothing more is sent to these people until then.', link];
    }
    case 'trouble':
      return ['warning', 'bad', 'hubd sends nothing at the moment', sentence(reason), nothing];
    default:
      return ['pause', 'wait', `${name} is paused`, sentence(reason), show];
  }
}
