/** The first step of a new campaign: its name, its channel, and who gets it. */

import { html } from '../vendor/lit-html/lit-html.js';
import { count } from '../format.js';
import { icon } from '../icons.js';
import { field, note } from '../parts.js';
import { goTo } from './new.js';

/** @type {[string, string, import('../icons.js').IconName][]} */
const CHANNELS = [
  ['email', 'Email', 'mail'],
  ['sms', 'SMS', 'sms'],
];

/** @param {any} app */
export function audience(app) {
  const { page, lists, providers } = app.state;
  const { draft, faults } = page;
  const set = (/** @type {object} */ values) => {
    Object.assign(draft, values);
    app.draw(true);
  };
  const able = providers.filter((/** @type {any} */ each) => each.channels.includes(draft.channel));
  return html`<div class="build">
      <div class="stack form">
        ${field({
          id: 'name',
          label: 'Name',
          error: faults.name,
          hint: 'For you and your colleagues; nobody else sees it.',
          control: html`<input
            class="input"
            id="name"
            placeholder="spring-sale"
            autocomplete="off"
            ?disabled=${page.revision !== undefined}
            aria-invalid=${faults.name ? 'true' : 'false'}
            .value=${draft.name}
            @input=${(/** @type {any} */ event) => set({ name: event.target.value.toLowerCase().replace(/\s+/g, '-') })}
          />`,
        })}
        <div class="field">
          <span class="label" id="l-channel">Channel</span>
          <div>
            <div class="seg" role="group" aria-labelledby="l-channel">
              ${CHANNELS.map(
                ([value, words, shape]) =>
                  html`<button
                    aria-pressed=${draft.channel === value ? 'true' : 'false'}
                    @click=${() => set({ channel: value, provider: providerFor(providers, value, draft.provider) })}
                  >
                    ${icon(shape)}${words}
                  </button>`,
              )}
            </div>
          </div>
        </div>
        ${field({
          id: 'provider',
          label: 'Send through',
          error: faults.provider,
          hint:
            draft.provider === 'outbox'
              ? 'The outbox sends nothing: it writes each message to a file that you can open.'
              : undefined,
          control: html`<select
            class="input"
            id="provider"
            @change=${(/** @type {any} */ event) => set({ provider: event.target.value })}
          >
            ${able.map((/** @type {any} */ each) => html`<option value=${each.name} ?selected=${each.name === draft.provider}>${each.name} (${each.type})</option>`)}
          </select>`,
        })}
        <div role="radiogroup" aria-label="Kind">
          ${kind(draft, set, 'marketing', 'Marketing', 'For people who can unsubscribe. An email needs a link for it and your postal address.')}
          ${kind(draft, set, 'transactional', 'Transactional', 'For what people wait for: a receipt, an appointment, a change of terms.')}
        </div>
      </div>
      <aside class="rail" aria-label="Audience">
        <section aria-labelledby="h-lists">
          <div class="sec-head"><h2 id="h-lists">Who gets it</h2></div>
          ${
            lists?.length
              ? html`<div class="stack">${lists.map((/** @type {any} */ each) => listBox(draft, set, each))}</div>
                  <p class="hint below">
                    Who is on several lists gets one message. Suppressed addresses are left out by themselves.
                  </p>`
              : note('', 'info', 'There is no list yet.')
          }
          ${condition(page, set)}
          <p class="below"><a class="btn btn-s" href="#/import">${icon('upload')}Import a CSV</a></p>
        </section>
      </aside>
    </div>
    <div class="stepfoot"><button class="btn btn-primary" @click=${() => goTo(app, 'message')}>Continue</button></div>`;
}

/**
 * @param {any[]} providers
 * @param {string} channel
 * @param {string} now
 */
export function providerFor(providers, channel, now) {
  const able = providers.filter((each) => each.channels.includes(channel)).map((each) => each.name);
  return able.includes(now) ? now : (able[0] ?? 'outbox');
}

/**
 * @param {any} draft
 * @param {(values: object) => void} set
 * @param {string} value
 * @param {string} title
 * @param {string} words
 */
function kind(draft, set, value, title, words) {
  return html`<label class="choice"
    ><input type="radio" name="kind" .checked=${draft.kind === value} @change=${() => set({ kind: value })} /><span
      class="t"
      >${title}</span
    ><span class="d">${words}</span></label
  >`;
}

/**
 * @param {any} draft
 * @param {(values: object) => void} set
 * @param {any} list
 */
function listBox(draft, set, { name, contacts }) {
  return html`<label class="check"
    ><input
      type="checkbox"
      .checked=${draft.lists.includes(name)}
      @change=${(/** @type {any} */ event) =>
        set({
          lists: event.target.checked
            ? [...draft.lists, name]
            : draft.lists.filter((/** @type {string} */ each) => each !== name),
        })}
    /><span class="grow cut">${name}</span><span class="t2"> ${count(contacts)}</span></label
  >`;
}

/**
 * Which contacts of the lists: an expression on their fields.
 * @param {any} page
 * @param {(values: object) => void} set
 */
function condition({ draft, faults }, set) {
  return field({
    id: 'where',
    label: 'Only contacts where',
    error: faults.where,
    hint: 'An expression on their fields. Empty: all of them. How many they are is counted in the last step.',
    control: html`<input
      class="input mono"
      id="where"
      placeholder="city == 'Köln' and orders > 3"
      aria-invalid=${faults.where ? 'true' : 'false'}
      .value=${draft.where ?? ''}
      @input=${(/** @type {any} */ event) => set({ where: event.target.value })}
    />`,
  });
}
