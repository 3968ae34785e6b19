/** The first step of a new campaign: its name, its channel, and who gets it. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { providerKey, providersOf } from '../draft.js';
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
                    @click=${() => set({ channel: value, provider: providerFor(providers, value, providersOf(draft)) })}
                  >
                    ${icon(shape)}${words}
                  </button>`,
              )}
            </div>
          </div>
        </div>
        ${chain(app, set)}
        <div role="radiogroup" aria-label="Kind">
          ${kind(draft, set, 'marketing', 'Marketing', 'For people who can unsubscribe. An email needs a link for it and your postal address.')}
          ${kind(draft, set, 'transactional', 'Transactional', 'For messages that people are waiting for: a receipt, an appointment, a change of terms.')}
        </div>
      </div>
      <aside class="rail" aria-label="Audience">
        <section aria-labelledby="h-lists">
          <div class="sec-head"><h2 id="h-lists">Who gets it</h2></div>
          ${
            draft.trigger?.list
              ? note(
                  '',
                  'people',
                  `Everyone who is added to ${draft.trigger.list} while it runs. You can change that in the last step.`,
                )
              : lists?.length
                ? html`<div class="stack">${lists.map((/** @type {any} */ each) => listBox(draft, set, each))}</div>
                    <p class="hint below">
                      People on several lists get one message. Suppressed addresses are left out automatically.
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
 * The providers of a campaign that are able to send through this channel, or else one that is.
 * @param {any[]} providers
 * @param {string} channel
 * @param {string[]} names
 * @returns {string | string[]}
 */
export function providerFor(providers, channel, names) {
  const able = providers.filter((each) => each.channels.includes(channel)).map((each) => each.name);
  const kept = names.filter((name) => able.includes(name));
  return providerKey(kept.length ? kept : [able[0] ?? 'outbox']);
}

/**
 * The providers in their order: while one cannot send, the next one does.
 * @param {any} app
 * @param {(values: object) => void} set
 */
function chain(app, set) {
  const { page, providers } = app.state;
  const { draft, faults } = page;
  const names = providersOf(draft);
  const able = providers.filter((/** @type {any} */ each) => each.channels.includes(draft.channel));
  const free = able
    .map((/** @type {any} */ each) => each.name)
    .filter((/** @type {string} */ name) => !names.includes(name));
  const choose = (/** @type {string[]} */ next) => set({ provider: providerKey(next) });
  return field({
    id: 'provider',
    label: 'Send through',
    error: faults.provider,
    hint:
      names.length > 1
        ? 'If one cannot send, the next takes over, but only with what the one before certainly did not accept.'
        : names[0] === 'outbox'
          ? 'The outbox sends nothing: it writes each message to a file that you can open.'
          : undefined,
    control: html`<ol class="chain">
        ${names.map((name, index) => link(able, free, names, index, choose))}
      </ol>
      ${
        free.length
          ? html`<div>
              <button class="btn btn-s btn-quiet" @click=${() => choose([...names, free[0]])}>
                ${icon('plus')}Add one that takes over
              </button>
            </div>`
          : nothing
      }`,
  });
}

/**
 * One provider of them.
 * @param {any[]} able
 * @param {string[]} free those that are not chosen yet
 * @param {string[]} names
 * @param {number} index
 * @param {(names: string[]) => void} choose
 */
function link(able, free, names, index, choose) {
  const name = names[index];
  const types = new Map(able.map((each) => [each.name, each.type]));
  const offered = [...new Set([...able.map((each) => each.name).filter((each) => free.includes(each)), name])].sort();
  const others = names.filter((_, other) => other !== index);
  return html`<li>
    <select
      class="input"
      id=${index ? nothing : 'provider'}
      aria-label=${index ? `Provider ${index + 1}, if those before it cannot send` : nothing}
      @change=${(/** @type {any} */ event) => choose(names.map((each, other) => (other === index ? event.target.value : each)))}
    >
      ${offered.map((each) => html`<option value=${each} ?selected=${each === name}>${each} (${types.get(each) ?? 'not configured'})</option>`)}
    </select>
    ${
      index
        ? html`<button
            class="btn btn-quiet btn-s btn-icon"
            aria-label="Prefer ${name}"
            title="Move up"
            @click=${() => choose([...names.slice(0, index - 1), name, names[index - 1], ...names.slice(index + 1)])}
          >
            ${icon('up')}
          </button>`
        : nothing
    }
    ${
      names.length > 1
        ? html`<button
            class="btn btn-quiet btn-s btn-icon"
            aria-label="Remove ${name}"
            title="Remove"
            @click=${() => choose(others)}
          >
            ${icon('close')}
          </button>`
        : nothing
    }
  </li>`;
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
    hint: 'An expression on their fields. Empty: all of them. The last step counts how many match.',
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
