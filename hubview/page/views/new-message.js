/** The second step of a new campaign: what it says, with a preview of one message. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { attach, missing, providersOf, save } from '../draft.js';
import { findingsIn } from '../findings.js';
import { size } from '../format.js';
import { icon } from '../icons.js';
import { field, note } from '../parts.js';
import { editor } from './editor.js';
import { goTo } from './new.js';
import { preview, showPreview } from './preview.js';

const PREVIEW_WAIT = 700; // milliseconds after the last key
const STANDARD = ['first_name', 'last_name', 'email', 'phone'];

/** What contacts of the lists have, for the chips; and the preview. @param {any} app */
export async function openMessageStep(app) {
  const { page } = app.state;
  const found = new Set(STANDARD);
  for (const list of page.draft.lists.slice(0, 5)) {
    const { contacts } = await app.call('contacts.list', { list, limit: 50 });
    for (const { fields } of contacts) for (const name of Object.keys(fields)) found.add(name);
  }
  const { templates } = await app.call('template.list');
  app.patch(page, { fields: [...found], templates });
  await update(app);
}

/** Save, and show the message as it is now. @param {any} app */
async function update(app) {
  const { page } = app.state;
  const quiet = page.faults;
  if (await save(app)) await showPreview(app, page.draft.name, page.as ?? '');
  else if (!page.tried && Object.keys(missing(page.draft)).length) app.patch(page, { faults: quiet }); // just begun
}

/** @param {any} app */
export function message(app) {
  const { page } = app.state;
  const { draft, fields = STANDARD, part = 'text' } = page;
  const isEmail = draft.channel === 'email';
  return html`<div class="build half">
      <div class="stack form">
        ${line(app, 'sender', 'From', isEmail ? 'Acme <news@acme.example>' : 'a number or a name; empty for the provider’s own')}
        ${templates(app)} ${isEmail && !draft.template ? line(app, 'subject', 'Subject', '') : nothing}
        ${isEmail ? tabs(app, part) : nothing}
        ${part === 'more' && isEmail ? more(app) : draft.template ? nothing : html`${chips(app, fields, isEmail ? part : 'text')} ${editor(page, isEmail ? part : 'text', (value) => set(app, isEmail ? part : 'text', value))}`}
      </div>
      <aside class="rail" aria-label="Preview">
        ${page.savedText ? preview(app, draft.name, page, remedy(page)) : html`<p class="hint">The preview appears when there is a sender, a subject and a text.</p>`}
        ${page.savedText ? html`<div class="row"><span class="grow"></span><button class="btn btn-s" @click=${() => askTest(app)}>Send a test…</button></div>` : nothing}
      </aside>
    </div>
    <div class="stepfoot">
      <button class="btn" @click=${() => goTo(app, 'audience')}>Back</button>
      <button
        class="btn btn-primary"
        @click=${() => {
          page.tried = true;
          goTo(app, 'review');
        }}
      >
        Continue
      </button>
    </div>`;
}

/** The title of the third tab. @param {any} draft */
function moreWords({ kind }) {
  return kind === 'marketing' ? 'Unsubscribe, attachments' : 'Attachments and more';
}

/** How to fix a preview that cannot be made, in the words of this form. @param {any} page */
function remedy({ draft, previewError }) {
  if (!previewError) return undefined;
  if (!draft.lists.length) return 'Choose who gets it in the first step, or name a contact here.';
  if (!draft.unsubscribe && /unsubscribe_url/.test(previewError.message))
    return `Say where people unsubscribe, under “${moreWords(draft)}”.`;
  return undefined;
}

/**
 * Start from a stored template: its words are copied, so that they can be changed.
 * @param {any} app
 */
function templates(app) {
  const { page } = app.state;
  const { draft, templates: known = [] } = page;
  const take = async (/** @type {string} */ name) => {
    const { template } = await app.call('template.get', { name });
    const { subject, text, html: markup } = template;
    Object.assign(draft, { subject, text, html: markup, template: '' });
    app.draw(true);
    await update(app);
  };
  if (draft.template) {
    return note(
      '',
      'file',
      html`Its words are those of the stored template <b class="b">${draft.template}</b>, the newest version when it
        starts.`,
      html`<button class="btn btn-s" @click=${() => app.attempt(() => take(draft.template))}>Write your own</button>`,
    );
  }
  const fitting = known.filter((/** @type {any} */ each) => each.channel === draft.channel);
  if (!fitting.length) return nothing;
  return field({
    id: 'template',
    label: 'Start from a template',
    control: html`<select
      class="input"
      id="template"
      @change=${(/** @type {any} */ event) => event.target.value && app.attempt(() => take(event.target.value))}
    >
      <option value="">(none)</option>
      ${fitting.map((/** @type {any} */ each) => html`<option value=${each.name}>${each.name}</option>`)}
    </select>`,
  });
}

/**
 * @param {any} app
 * @param {string} key
 * @param {string} value
 */
function set(app, key, value) {
  const { page } = app.state;
  page.draft[key] = value;
  clearTimeout(page.updating);
  page.updating = setTimeout(
    () => page === app.state.page && page.step === 'message' && app.attempt(() => update(app)),
    PREVIEW_WAIT,
  );
}

/**
 * @param {any} app
 * @param {string} key
 * @param {string} label
 * @param {string} placeholder
 * @param {string} [hint]
 */
function line(app, key, label, placeholder, hint) {
  const { draft, faults, warnings = [] } = app.state.page;
  const found = findingsIn(key, faults, warnings);
  const fault = faults[key] || found.find((each) => each.bad)?.problem;
  const odd = found.find((each) => !each.bad)?.problem;
  return field({
    id: key,
    label,
    error: fault,
    hint: odd ? html`<span class="wait">${odd}</span>` : hint,
    control: html`<input
      class="input"
      id=${key}
      placeholder=${placeholder}
      aria-invalid=${fault ? 'true' : 'false'}
      .value=${draft[key] ?? ''}
      @input=${(/** @type {any} */ event) => set(app, key, event.target.value)}
    />`,
  });
}

/**
 * @param {any} app
 * @param {string} part
 */
function tabs(app, part) {
  const { page } = app.state;
  const count = page.draft.attachments.length;
  const all = [
    ['text', 'Text'],
    ['html', 'HTML'],
    ['more', count ? `${moreWords(page.draft)} (${count})` : moreWords(page.draft)],
  ];
  return html`<nav class="tabs" aria-label="Body">
    ${all.map(([name, words]) => html`<button aria-current=${part === name ? 'true' : nothing} @click=${() => app.patch(page, { part: name })}>${words}</button>`)}
  </nav>`;
}

/**
 * @param {any} app
 * @param {string[]} fields
 * @param {string} key
 */
function chips(app, fields, key) {
  return html`<div class="chips" role="group" aria-label="Insert a field">
    ${fields.map((name) => html`<button class="chip" title="Insert ${name}" @click=${() => insert(app, key, `{{ ${name} }}`)}><code>${name}</code></button>`)}
    ${
      key !== 'more' && app.state.page.draft.unsubscribe
        ? html`<button class="chip" @click=${() => insert(app, key, '{{ unsubscribe_url }}')}>
            <code>unsubscribe_url</code>
          </button>`
        : nothing
    }
  </div>`;
}

/**
 * Insert at the cursor.
 * @param {any} app
 * @param {string} key
 * @param {string} text
 */
function insert(app, key, text) {
  const area = /** @type {HTMLTextAreaElement | null} */ (document.getElementById(key));
  if (!area) return;
  area.setRangeText(text, area.selectionStart, area.selectionEnd, 'end');
  area.focus();
  set(app, key, area.value);
}

/** @param {any} app */
function more(app) {
  const { page } = app.state;
  const { draft } = page;
  return html`<div class="field">
      <span class="label">Attachments</span>
      <ul class="attached">
        ${draft.attachments.map(
          (/** @type {any} */ each) =>
            html`<li>
              ${icon('file', 't2')}<span class="grow cut">${each.name}</span
              ><span class="t3 s">${size(each.size)}</span>
              <button
                class="btn btn-quiet btn-s btn-icon"
                aria-label="Remove ${each.name}"
                @click=${() => {
                  draft.attachments = draft.attachments.filter((/** @type {any} */ other) => other !== each);
                  app.attempt(() => update(app));
                  app.draw(true);
                }}
              >
                ${icon('close')}
              </button>
            </li>`,
        )}
      </ul>
      <div>
        <label class="btn btn-s"
          >${icon('plus')}Attach a file<input
            class="vh"
            type="file"
            multiple
            aria-label="Attach a file"
            @change=${async (/** @type {any} */ event) => {
              for (const file of event.target.files) await app.attempt(() => attach(app, file));
              event.target.value = '';
              await app.attempt(() => update(app));
              app.draw(true);
            }}
        /></label>
      </div>
    </div>
    ${line(app, 'reply_to', 'Replies go to', 'help@acme.example', 'Empty: to the sender.')}
    ${
      draft.kind === 'marketing'
        ? html`${line(app, 'unsubscribe', 'Where people unsubscribe', 'https://acme.example/u/{{ contact_id }}', 'A web address or mailto: address. It becomes unsubscribe_url and the unsubscribe button in mail programs.')}
          ${line(app, 'postal_address', 'Your postal address', 'Acme, 1 Main St, Springfield', 'The law requires it in marketing email.')}`
        : nothing
    }`;
}

/** @param {any} app */
export function askTest(app) {
  const { page } = app.state;
  const own = { to: page.testTo ?? '' };
  app.ask({
    kind: 'ask',
    title: 'Send a test message',
    words: `One message to you, through ${providersOf(page.draft)[0]}, as the first of its people would get it.`,
    get body() {
      return html`<input
        class="input"
        aria-label="Send the test to"
        placeholder=${page.draft.channel === 'email' ? 'you@acme.example' : '+15005550006'}
        autofocus
        .value=${own.to}
        @input=${(/** @type {any} */ event) => (own.to = event.target.value)}
      />`;
    },
    button: 'Send the test',
    act: async () => {
      page.testTo = own.to.trim();
      const sent = await app.call('campaign.test', {
        name: page.draft.name,
        to: page.testTo,
        idempotency_key: crypto.randomUUID(),
      });
      const words =
        sent.state === 'sent'
          ? `The test was accepted for ${page.testTo}`
          : `The test is ${sent.state.replace('_', ' ')}: ${sent.detail || sent.reason}`;
      app.toast(words, sent.state === 'sent' ? '' : 'bad');
    },
  });
}
