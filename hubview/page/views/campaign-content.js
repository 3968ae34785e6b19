/** What a campaign says: a preview as any contact, and its file. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { icon } from '../icons.js';
import { loading } from '../parts.js';
import { save } from '../saving.js';
import { mayChange } from '../store.js';
import { toToml } from '../toml.js';
import { preview, showPreview } from './preview.js';

/**
 * @param {any} app
 * @param {string} name
 */
export async function openContent(app, name) {
  if (mayChange(app.state)) await showPreview(app, name, app.state.page.as ?? '');
}

/**
 * @param {any} app
 * @param {any} view
 */
export function content(app, view) {
  const { page } = app.state;
  if (!page.spec) return loading('Asking hubd for the content.');
  const operator = mayChange(app.state);
  return html`<div class="${operator ? 'build half' : ''} sec">
    <section aria-labelledby="h-file">
      <div class="sec-head">
        <h2 id="h-file">As a campaign file</h2>
        <span class="aside"
          ><button
            class="btn btn-s"
            @click=${() => save(app, { kind: 'text', name: `${view.name}.toml`, text: toToml(page.spec) })}
          >
            ${icon('download')}Save as ${view.name}.toml
          </button></span
        >
      </div>
      <pre class="file" tabindex="0">${toToml(page.spec)}</pre>
      <p class="hint below">
        hubctl apply accepts this file.
        ${view.started_at ? 'A campaign that was started keeps the content it was started with.' : nothing}
      </p>
    </section>
    ${operator ? html`<aside class="rail" aria-label="Preview">${preview(app, view.name, page)}</aside>` : nothing}
  </div>`;
}
