/** Dialogs: a question with its numbers before something is done that reaches people or cannot be undone. */

import { html, nothing } from './vendor/lit-html/lit-html.js';
import { KEYS } from './keys.js';
import { failure } from './parts.js';

/**
 * @typedef {object} Ask
 * @property {'ask'} kind
 * @property {string} title a question with the name in it
 * @property {unknown} [words]
 * @property {[string, string][]} [effects] numbers, and what happens to that many
 * @property {unknown} [body] further controls
 * @property {string} button what it does, and to how many
 * @property {boolean} [danger] whether something is lost: then Cancel has the focus
 * @property {() => Promise<unknown>} act
 * @property {{label: string, act: () => Promise<unknown>}} [instead] the safe way out
 * @property {boolean} [wide] whether it shows a table
 * @property {boolean} [done] whether it says what became of it, instead of closing
 * @property {boolean} [disabled]
 * @property {boolean} [busy]
 * @property {any} [error]
 */

/** @param {any} app */
export function dialogOf(app) {
  const { dialog } = app.state;
  if (!dialog) return nothing;
  const content = dialog.kind === 'keys' ? keys(app) : question(app, dialog);
  return html`<dialog
    class="dialog ${dialog.wide ? 'broad' : ''}"
    aria-labelledby="dialog-title"
    @cancel=${(/** @type {Event} */ event) => {
      event.preventDefault();
      app.closeDialog();
    }}
  >
    ${content}
  </dialog>`;
}

/**
 * @param {any} app
 * @param {Ask} dialog
 */
function question(app, dialog) {
  const run = async (/** @type {() => Promise<unknown>} */ act) => {
    if (dialog.busy) return;
    dialog.busy = true;
    dialog.error = null;
    app.draw(true);
    try {
      await act();
      if (app.state.dialog === dialog && !dialog.done) app.closeDialog();
    } catch (/** @type {any} */ error) {
      dialog.error = { message: error.message, hint: error.hint };
    }
    dialog.busy = false;
    app.draw(true);
  };
  const off = dialog.busy || dialog.disabled;
  return html`<div>
      <h2 id="dialog-title">${dialog.title}</h2>
      ${dialog.words ? html`<p class="t2 dialog-words">${dialog.words}</p>` : nothing}
    </div>
    ${
      dialog.effects?.length
        ? html`<dl class="effects">
            ${dialog.effects.map(
              ([number, words]) =>
                html`<dt>${number}</dt>
                  <dd>${words}</dd>`,
            )}
          </dl>`
        : nothing
    }
    ${dialog.body ?? nothing} ${failure(dialog.error)}
    ${dialog.done ? html`<div class="foot"><button class="btn" @click=${() => app.closeDialog()}>Close</button></div>` : choices(app, dialog, run, off)}`;
}

/**
 * @param {any} app
 * @param {Ask} dialog
 * @param {(act: () => Promise<unknown>) => Promise<void>} run
 * @param {boolean | undefined} off whether it cannot be done now
 */
function choices(app, dialog, run, off) {
  return html`<div class="foot">
    <button
      class="btn ${dialog.danger ? '' : 'btn-quiet'}"
      ?autofocus=${dialog.danger}
      @click=${() => app.closeDialog()}
    >
      Cancel<kbd aria-hidden="true">Esc</kbd>
    </button>
    ${
      dialog.instead
        ? html`<button class="btn" @click=${() => run(/** @type {any} */ (dialog.instead).act)}>
            ${dialog.instead.label}
          </button>`
        : nothing
    }
    <button
      class="btn ${dialog.danger ? 'btn-danger' : 'btn-primary'}"
      ?autofocus=${!dialog.danger && !dialog.body}
      aria-disabled=${off ? 'true' : nothing}
      @click=${() => !off && run(dialog.act)}
    >
      ${dialog.button}
    </button>
  </div>`;
}

/** @param {any} app */
function keys(app) {
  const off = app.state.choices.keys === 'off';
  return html`<h2 id="dialog-title">Keys</h2>
    <dl class="keys">
      ${KEYS.map(
        ([key, words]) =>
          html`<dt>${key.split('  ').map((one) => html`<kbd>${one}</kbd> `)}</dt>
            <dd>${words}</dd>`,
      )}
    </dl>
    <label class="check"
      ><input
        type="checkbox"
        .checked=${!off}
        @change=${(/** @type {any} */ event) => app.choose({ keys: event.target.checked ? 'on' : 'off' })}
      /><span>Single keys act (Esc in a dialog always does)</span></label
    >
    <div class="foot"><button class="btn" autofocus @click=${() => app.closeDialog()}>Close</button></div>`;
}
