/** One message as a contact would get it. Foreign HTML is shown in a frame that can do and fetch nothing. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { plural } from '../format.js';
import { icon } from '../icons.js';
import { failure } from '../parts.js';

/** @type {[string, string, import('../icons.js').IconName][]} */
const WAYS = [
  ['desktop', 'Desktop', 'desktop'],
  ['phone', 'Phone', 'phone'],
  ['text', 'Text', 'lines'],
];

/**
 * Fetch the message of a campaign for a contact.
 * @param {any} app
 * @param {string} name
 * @param {string} as an address or a contact id, "" for the first of the audience
 */
export async function showPreview(app, name, as) {
  const { page } = app.state;
  try {
    const content = await app.call('campaign.preview', { name, to: as.trim() || null });
    app.patch(page, { preview: { ...content, frame: await frameOf(app, content.html) }, previewError: null });
  } catch (/** @type {any} */ error) {
    app.patch(page, { previewError: { message: error.message, hint: error.hint } });
  }
}

/**
 * Where a frame finds this HTML; "" for none.
 * @param {any} app
 * @param {string | undefined} text
 */
export async function frameOf(app, text) {
  if (!text) return '';
  return (await app.program.ask('/preview', { html: text })).path;
}

/**
 * @param {any} app
 * @param {string} name
 * @param {any} page
 * @param {string} [remedy] what to do about an error, where the page knows better than hubd
 */
export function preview(app, name, page, remedy) {
  const { preview: content, previewError } = page;
  const way = page.way ?? 'desktop';
  const isEmail = content?.subject !== undefined;
  return html`<form
      class="row"
      @submit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        showPreview(app, name, page.as ?? '');
      }}
    >
      <label class="label" for="preview-as">As</label>
      <input
        class="input grow"
        id="preview-as"
        placeholder=${content?.recipient ?? 'address of a contact'}
        .value=${page.as ?? ''}
        @change=${(/** @type {any} */ event) => {
          page.as = event.target.value;
          showPreview(app, name, page.as);
        }}
      />
      ${isEmail ? ways(app, page, way) : nothing}
    </form>
    ${failure(previewError && { ...previewError, hint: remedy ?? previewError.hint })}
    ${
      content
        ? html`<div class="preview">
            <dl class="facts s">
              <dt>To</dt>
              <dd class="cut">${content.recipient}</dd>
              ${
                isEmail
                  ? html`<dt>Subject</dt>
                      <dd>${content.subject}</dd>`
                  : nothing
              }
            </dl>
            ${isEmail ? email(content, way) : bubble(content)}
          </div>`
        : nothing
    }
    <p class="hint">The preview never loads anything from the network.</p>`;
}

/**
 * @param {any} app
 * @param {any} page
 * @param {string} way
 */
function ways(app, page, way) {
  return html`<div class="seg" role="group" aria-label="Show as">
    ${WAYS.map(
      ([value, words, shape]) =>
        html`<button
          type="button"
          aria-pressed=${way === value ? 'true' : 'false'}
          @click=${() => app.patch(page, { way: value })}
        >
          ${icon(shape)}${words}
        </button>`,
    )}
  </div>`;
}

/**
 * @param {{text: string, html?: string, frame?: string}} content
 * @param {string} way
 */
export function email(content, way) {
  if (way === 'text' || !content.frame)
    return html`<pre class="mail plain" tabindex="0">${content.text || '(there is no plain text)'}</pre>`;
  return html`<div class=${way === 'phone' ? 'phone' : 'mail'}>
    <iframe class="sheet" title="The message" sandbox="" referrerpolicy="no-referrer" src=${content.frame}></iframe>
  </div>`;
}

/** @param {{text: string, segments?: number, encoding?: string}} content */
export function bubble(content) {
  return html`<div class="sms"><div class="bubble">${content.text}</div></div>
    <p class="hint below">
      ${content.segments ? `${plural(content.segments, 'segment')}, ${content.encoding}` : nothing}
    </p>`;
}
