/** Sinks: where figures and events are copied to, whether that works, and how far each is behind. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { change } from '../actions.js';
import { tableOf } from '../config.js';
import { plural, sentence, time } from '../format.js';
import { icon } from '../icons.js';
import { empty, loading, pageHead, unknown } from '../parts.js';
import { mayChange } from '../store.js';

/** @type {Record<string, [import('../icons.js').IconName, string, string]>} state: icon, colour, word */
const STATES = {
  ready: ['done', 'completed', 'Works'],
  failing: ['clock', 'paused', 'Tried again'],
  paused: ['pause', 'failed', 'Paused'],
};
/** @type {Record<string, string>} */
const TYPES = { airtable: 'Airtable', webhook: 'webhook', csv: 'CSV files' };
/** @type {Record<string, string>} */
const CONTENTS = {
  campaigns: 'The figures of each campaign',
  kpis: 'The figures of each campaign and day',
  events: 'What happens, as events',
};

/** @type {import('../pages.js').Page} */
export const sinksPage = {
  title: () => 'Sinks',
  view: sinks,
  async open(app) {
    const { page } = app.state;
    app.loadSinks();
    app.patch(page, { config: await app.call('config.show') });
  },
};

/** @param {any} app */
export function sinks(app) {
  const { sinks: known } = app.state;
  return html`${pageHead('Sinks', 'Where hubd copies figures and events to. A failing sink delays no message, and later receives what it missed.')}
  ${
    known
      ? known.length
        ? table(app, known, Date.now())
        : empty(
            'Nothing is copied elsewhere',
            html`Name an Airtable base, a webhook or a folder for CSV files in hubd.toml, as
              <code>[sinks.control]</code>, then type <code>hubctl daemon reload</code>.`,
          )
      : loading('Asking hubd for the sinks.')
  }`;
}

/**
 * @param {any} app
 * @param {any[]} known
 * @param {number} now
 */
function table(app, known, now) {
  return html`<table class="table flat accounts">
    <thead>
      <tr>
        <th scope="col">Sink</th>
        <th scope="col">Receives</th>
        <th scope="col">State</th>
        <th scope="col" class="w-when">Last update</th>
        <th scope="col" class="num w-acts"><span class="vh">Actions</span></th>
      </tr>
    </thead>
    <tbody>
      ${known.map((each) => sinkRow(app, each, now))}
    </tbody>
  </table>`;
}

/**
 * @param {any} app
 * @param {any} each
 * @param {number} now
 */
export function sinkRow(app, each, now) {
  const { name, type, content, state, reason, failures, told_at: told } = each;
  const [shape, tone, words] = STATES[state] ?? ['info', 'draft', sentence(state)];
  const settings = tableOf(app.state.page.config, 'sinks', name);
  const where = target(type, settings);
  const probe = app.state.page.probes?.[name];
  return html`<tr>
    <td>
      <div class="b cut" title=${name}>${name}</div>
      <div class="t3 s">${TYPES[type] ?? type}</div>
    </td>
    <td>
      <div>${CONTENTS[content] ?? sentence(content)}</div>
      <div class="t3 s far" title=${where}>${where}</div>
    </td>
    <td>
      <span class="state ${tone}">${icon(shape)}${words}</span>
      ${reason ? html`<div class="t2 s far">${reason}</div>` : nothing}
      ${state === 'failing' ? html`<div class="t3 s">${plural(failures, 'failure')} in a row</div>` : nothing}
    </td>
    <td>
      <div class="nowrap">${told ? time(told, now) : unknown('nothing has been sent to it yet')}</div>
      <div class="t3 s">${lag(each, settings.every)}</div>
    </td>
    <td class="num">
      ${mayChange(app.state) ? buttons(app, each, probe) : nothing}
      ${probe && !probe.busy ? html`<div class="s ${probe.ok ? 'good' : 'bad'} far" role="status">${probe.ok ? 'It took the test' : probe.detail}</div>` : nothing}
    </td>
  </tr>`;
}

/**
 * How far it is behind. Figures are sent at intervals, so events that have happened since are no lag.
 * @param {{behind: number, content: string, state: string}} sink
 * @param {string} [every] how often figures are sent
 */
export function lag({ behind, content, state }, every = '') {
  if (state === 'ready' && content !== 'events') return every ? `every ${every}` : '';
  return behind ? `${plural(behind, 'event')} behind` : 'up to date';
}

/**
 * Where it sends to.
 * @param {string} type
 * @param {Record<string, any>} settings its table in hubd.toml
 */
export function target(type, settings) {
  if (type === 'airtable') return settings.base ? `table ${settings.table} of base ${settings.base}` : '';
  if (type === 'csv') return settings.directory ? `folder ${settings.directory}` : '';
  const only = settings.events?.length ? `, only ${settings.events.join(', ')}` : '';
  return settings.url ? `${settings.url}${only}` : '';
}

/**
 * @param {any} app
 * @param {any} sink
 * @param {any} probe
 */
function buttons(app, { name, state }, probe) {
  return html`<button class="btn btn-s" aria-disabled=${probe?.busy ? 'true' : nothing} @click=${() => test(app, name)}>
      ${probe?.busy ? 'Testing' : 'Test'}
    </button>
    ${
      state === 'paused' ? html`<button class="btn btn-s" @click=${() => resume(app, name)}>Resume</button>` : nothing
    }`;
}

/**
 * Try it once.
 * @param {any} app
 * @param {string} name
 */
async function test(app, name) {
  const { page } = app.state;
  const set = (/** @type {any} */ probe) => app.patch(page, { probes: { ...page.probes, [name]: probe } });
  set({ busy: true });
  try {
    set(await change(app, 'sink.test', { name }));
  } catch (/** @type {any} */ error) {
    set({ ok: false, detail: error.message });
  }
  app.loadSinks();
}

/**
 * @param {any} app
 * @param {string} name
 */
async function resume(app, name) {
  await app.attempt(() => change(app, 'sink.resume', { name }));
  app.loadSinks();
}
