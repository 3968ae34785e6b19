/** Who pays for a new campaign: what it will reserve, what is left then, and how to top up. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { count, plural } from '../format.js';
import { icon } from '../icons.js';
import { field, note } from '../parts.js';
import { askGrant } from './credits.js';
import { checkAgain } from './new-ways.js';

/** The accounts that could pay. @param {any} app */
export async function openCredits(app) {
  app.patch(app.state.page, { accounts: (await app.call('credits.list')).accounts });
}

/** The account, or that nobody pays; nothing where there are no accounts. @param {any} app */
export function payer(app) {
  const { page } = app.state;
  const { accounts = [], draft, check, faults } = page;
  const paid = draft.credits ?? '';
  if (!accounts.length && !paid) return nothing;
  const names = [...new Set([...accounts.map((/** @type {any} */ each) => each.name), paid])].filter(Boolean);
  const pay = (/** @type {any} */ event) => {
    draft.credits = event.target.value;
    app.attempt(() => checkAgain(app));
  };
  return html`<section class="sec" aria-labelledby="h-pay">
    <div class="sec-head"><h2 id="h-pay">Credits</h2></div>
    ${field({
      id: 'paid-from',
      label: 'Paid from',
      error: faults.credits ?? '',
      hint: check.credits ? reserves(check.credits, Boolean(draft.trigger?.list)) : 'No account: no credits needed.',
      control: html`<select class="input at" id="paid-from" @change=${pay}>
        <option value="" ?selected=${!paid}>(no account)</option>
        ${names.map((name) => html`<option value=${name} ?selected=${name === paid}>${name}</option>`)}
      </select>`,
    })}
    ${check.credits?.missing ? shortfall(app, check.credits) : nothing}
  </section>`;
}

/**
 * What a start reserves and leaves.
 * @param {{account: string, needed: number, held: number, available: number, missing: number}} need
 * @param {boolean} [joining] whether people join one by one
 */
export function reserves({ account, needed, held, available, missing }, joining = false) {
  const further = Math.max(0, needed - held);
  if (joining) return `It reserves the credits of each when they are added; ${account} has ${count(available)}.`;
  if (!further) return `It reserves no further credit of ${account}; ${count(available)} are available.`;
  const left = missing ? '' : `; ${count(available - further)} are left then`;
  return `It reserves ${plural(further, 'credit')} of ${account}, which has ${count(available)}${left}.`;
}

/**
 * Too few credits: how many are missing, and how to get them.
 * @param {any} app
 * @param {any} need
 */
function shortfall(app, { account, missing }) {
  const top = () =>
    askGrant(app, account, {
      credits: missing,
      then: async () => {
        await openCredits(app);
        await checkAgain(app);
      },
    });
  return html`<div class="below">
    ${note(
      'wait',
      'coins',
      html`<b class="b">${plural(missing, 'credit')} ${missing === 1 ? 'is' : 'are'} missing.</b> It cannot start before
        ${account} has them.`,
      html`<button class="btn btn-s" @click=${top}>${icon('plus')}Top up…</button>`,
    )}
  </div>`;
}

/**
 * The lines about credits in the summary of what will happen.
 * @param {any} check as campaign.check answers
 * @param {string} how it is started
 * @param {number} people in the first part, who cost as many credits by email
 * @returns {[string, string][]}
 */
export function creditRows({ credits, channel }, how, people) {
  if (!credits) return [];
  const { account, available } = credits;
  if (how === 'trigger') return [['Reserves', `credits of ${account} for each of them`]];
  const all = Math.max(0, credits.needed - credits.held);
  const further = how === 'canary' && channel === 'email' ? Math.min(all, people) : all;
  const left = available < further ? `${count(further - available)} too few` : count(available - further);
  const each = how === 'repeat' ? ', at each time' : '';
  return [
    ['Reserves', `${plural(further, 'credit')} of ${account}${each}`],
    ['Left then', left],
  ];
}
