/** Single keys. They act outside fields only, can be switched off, and none starts or stops a campaign. */

/** @type {[string, string][]} */
export const KEYS = [
  ['N', 'New campaign'],
  ['/', 'Search or filter'],
  ['J  K', 'Next and previous recipient'],
  ['P', 'Pause or resume the open campaign'],
  ['R', 'Refresh, or connect again now'],
  ['Esc', 'Close what is open'],
  ['?', 'These keys'],
];

const FIELDS = 'input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]';

/**
 * @param {any} app
 * @param {KeyboardEvent} event
 */
export function onKey(app, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || app.state.choices.keys === 'off') return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.closest(FIELDS) || document.querySelector('dialog[open]')) return;
  const act = actions(app)[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
}

/**
 * @param {any} app
 * @returns {Record<string, () => void>}
 */
function actions(app) {
  const operator = app.state.hello?.role === 'operator';
  const click = (/** @type {string} */ name) => {
    const found = /** @type {HTMLElement | null} */ (document.querySelector(`[data-key="${name}"]`));
    found?.click();
  };
  return {
    n: () => operator && app.go('#/new'),
    '/': () => /** @type {HTMLElement | null} */ (document.querySelector('input[type=search]'))?.focus(),
    j: () => click('j'),
    k: () => click('k'),
    p: () => click('p'),
    r: () => (app.state.link.state === 'live' ? app.refresh() : app.client.retry()),
    escape: () => {
      const menu = document.querySelector('details.menu[open]');
      if (menu) menu.removeAttribute('open');
      else click('escape');
    },
    '?': () => app.ask({ kind: 'keys' }),
  };
}
