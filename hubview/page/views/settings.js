/** Settings: how hubd is configured, with where each value comes from (read only), and what this window remembers. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { literal } from '../toml.js';
import { span } from '../format.js';
import { icon } from '../icons.js';
import { loading, note, pageHead } from '../parts.js';
import { telling } from './settings-notify.js';

/** @type {import('../pages.js').Page} */
export const settingsPage = {
  title: () => 'Settings',
  view: settings,
  async open(app) {
    const { page } = app.state;
    app.patch(page, { config: await app.call('config.show') });
    app.patch(page, { login: await app.program.ask('/login') });
  },
};

/** @type {[string, string][]} */
const THEMES = [
  ['system', 'As the system'],
  ['light', 'Light'],
  ['dark', 'Dark'],
];

/** @param {any} app */
export function settings(app) {
  const { config, login } = app.state.page;
  const theme = app.state.choices.theme ?? 'system';
  return html`${pageHead('Settings', 'This window, and how hubd is configured.')}
    <section class="sec" aria-labelledby="h-window">
      <div class="sec-head"><h2 id="h-window">This window</h2></div>
      <div class="row gap">
        <span class="label" id="l-theme">Colours</span>
        <div class="seg" role="group" aria-labelledby="l-theme">
          ${THEMES.map(
            ([value, words]) =>
              html`<button
                aria-pressed=${theme === value ? 'true' : 'false'}
                @click=${() => app.choose({ theme: value })}
              >
                ${words}
              </button>`,
          )}
        </div>
        <label class="check"
          ><input
            type="checkbox"
            .checked=${app.state.choices.keys !== 'off'}
            @change=${(/** @type {any} */ event) => app.choose({ keys: event.target.checked ? 'on' : 'off' })}
          /><span>Single keys act</span></label
        >
        <button class="btn btn-s btn-quiet" @click=${() => app.ask({ kind: 'keys' })}>Show the keys</button>
      </div>
    </section>
    ${login?.possible ? atLogin(app, login) : nothing} ${telling(app)} ${about(app)}
    ${config ? configuration(config) : loading('Asking hubd for its configuration.')}`;
}

/**
 * @param {any} app
 * @param {{on: boolean}} login
 */
function atLogin(app, login) {
  const { page } = app.state;
  const turn = (/** @type {any} */ event) =>
    app.attempt(async () => {
      try {
        app.patch(page, { login: await app.program.ask('/login/switch', event.target.checked) });
      } finally {
        event.target.checked = page.login.on;
      }
    });
  return html`<section class="sec" aria-labelledby="h-login">
    <div class="sec-head"><h2 id="h-login">When you log in</h2></div>
    <label class="check"><input type="checkbox" .checked=${login.on} @change=${turn} /><span>Start hubd</span></label>
    <p class="hint">
      Campaigns that were running continue, and scheduled ones start on time. To keep hubd running when you log out,
      type
      <code>loginctl enable-linger</code> in a terminal.
    </p>
  </section>`;
}

/** @param {any} app */
function about(app) {
  const { hello, where, status } = app.state;
  if (!hello) return nothing;
  const rows = [
    ['Version', hello.server_version],
    ['Reached at', where],
    ['State', hello.state_dir],
    [
      'You are',
      hello.role === 'operator'
        ? 'an operator: you may change everything'
        : 'a viewer: you see figures, but no addresses',
    ],
    ...(status
      ? [
          ['Up', span(status.uptime)],
          ['Database', status.store.ok ? 'can be written' : 'cannot be written'],
        ]
      : []),
  ];
  return html`<section class="sec" aria-labelledby="h-hub">
    <div class="sec-head"><h2 id="h-hub">The daemon</h2></div>
    <dl class="pairs">
      ${rows.map(
        ([name, value]) =>
          html`<dt>${name}</dt>
            <dd>${value}</dd>`,
      )}
    </dl>
  </section>`;
}

/** @param {any} config as config.show answers */
export function configuration(config) {
  return html`<section class="sec" aria-labelledby="h-config">
    <div class="sec-head">
      <h2 id="h-config">Configuration</h2>
      <span class="aside"
        >read from ${config.file}; hubd never writes it. After a change: <code>hubctl daemon reload</code></span
      >
    </div>
    ${
      config.needs_restart.length
        ? note(
            'wait',
            'warning',
            `These keys changed and take effect when hubd is restarted: ${config.needs_restart.join(', ')}.`,
          )
        : nothing
    }
    <table class="table">
      <thead>
        <tr>
          <th scope="col">Key</th>
          <th scope="col">Value</th>
          <th scope="col">Where it comes from</th>
        </tr>
      </thead>
      <tbody>
        ${config.settings.map(setting)}
      </tbody>
    </table>
  </section>`;
}

/** @param {any} entry */
function setting({ key, value, source, file, line }) {
  const from = file ? `${file}${line ? `, line ${line}` : ''}` : source;
  const shown =
    value === null || value === '' ? html`<span class="none">not set</span>` : html`<code>${literal(value)}</code>`;
  return html`<tr>
    <td class="mono">${key}</td>
    <td class="value">${shown}</td>
    <td class="t2 s">
      ${source === 'default' ? html`<span class="t3">default</span>` : html`${file ? icon('file') : nothing}<span>${from}</span>`}
    </td>
  </tr>`;
}
