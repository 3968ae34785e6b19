/** The last step of a new campaign: what was found, a test, and how to start. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { askStart } from '../actions.js';
import { chainWords, providersOf } from '../draft.js';
import { count, plural, sentence, size, span, time } from '../format.js';
import { icon } from '../icons.js';
import { loading, peopleWord } from '../parts.js';
import { address } from '../router.js';
import { askTest } from './new-message.js';
import { goTo } from './new.js';
import { creditRows, openCredits, payer } from './new-credits.js';
import { CANARY, localTime, wayOf, ways } from './new-ways.js';

/** @param {any} app */
export async function openReview(app) {
  const { page } = app.state;
  app.patch(page, { check: null });
  if (page.accounts === undefined) await openCredits(app);
  app.patch(page, { check: await app.call('campaign.check', { name: page.draft.name }) });
}

/** @param {any} app */
export function review(app) {
  const { page } = app.state;
  const { check, draft } = page;
  if (!check) return loading('Checking the message for each recipient.');
  return html`<div class="build">
    <div>
      <section aria-labelledby="h-check">
        <div class="sec-head">
          <h2 id="h-check">Check</h2>
          <button class="btn btn-s btn-quiet" @click=${() => app.attempt(() => openReview(app))}>Check again</button>
        </div>
        <ul class="findings">
          ${findings(app, check, draft)}
        </ul>
      </section>
      <section class="sec" aria-labelledby="h-test">
        <div class="sec-head"><h2 id="h-test">Test message</h2></div>
        <button class="btn" @click=${() => askTest(app)}>Send a test…</button>
      </section>
      ${payer(app)}
      <section class="sec" aria-labelledby="h-how">
        <div class="sec-head"><h2 id="h-how">How to start</h2></div>
        ${ways(app)}
      </section>
    </div>
    <aside class="rail" aria-label="What will happen">${outcome(app)}</aside>
  </div>`;
}

/**
 * @param {any} app
 * @param {any} check
 * @param {any} draft
 */
function findings(app, check, draft) {
  const fix = (/** @type {any} */ { risk, problem }) =>
    html`<button class="btn btn-s" @click=${() => goToFault(app, risk, problem)}>Fix</button>`;
  // What is missing on the account stands below, with the way to top it up.
  const unpaid = (/** @type {any} */ { problem }) => check.credits?.missing && /credit/.test(problem);
  const found = [
    ...check.problems.map((/** @type {any} */ each) =>
      item(
        each.risk ? 'warning' : 'cross',
        each.risk ? 'wait' : 'bad',
        inWindow(each.problem),
        unpaid(each) ? undefined : fix(each),
      ),
    ),
    ...check.warnings.map((/** @type {string} */ words) => item('info', 't2', sentence(words))),
  ];
  if (!check.problems.length && !draft.trigger?.list)
    found.push(
      item('check', 'good', `${peopleWord(check.remaining)} can get it: the message was rendered for each of them`),
    );
  if (check.matching) {
    const { contacts, matched, not_comparable: unknown } = check.matching;
    const left = unknown ? `; it has no result for ${count(unknown)}, who are left out` : '';
    found.push(
      item('people', 't2', `The condition is true for ${count(matched)} of ${plural(contacts, 'contact')}${left}`),
    );
  }
  if (check.segments) {
    const { least, most, total, encoding } = check.segments;
    found.push(
      item(
        'sms',
        't2',
        `${plural(total, 'segment')} in all, ${least === most ? least : `${least} to ${most}`} a person, ${encoding}`,
      ),
    );
  }
  if (check.load)
    found.push(item('mail', 't2', `About ${size(check.load.message)} a message, ${size(check.load.upload)} in all`));
  if (providersOf(draft).includes('outbox'))
    found.push(
      item(
        'info',
        't2',
        providersOf(draft).length > 1
          ? 'Messages in the outbox are written to files and do not leave this computer'
          : 'It goes to the outbox: messages are written to files, nothing leaves this computer',
      ),
    );
  return found;
}

/** What hubd found, without the keys of a campaign file. @param {string} problem */
export function inWindow(problem) {
  const plain = problem.replace(/ \(key: \w+\)/, '').replace(/set it with the key unsubscribe$/, UNSUBSCRIBE);
  return sentence(plain.replace(/; to add them: hubctl credits grant .*$/, ''));
}

const UNSUBSCRIBE = 'say where people unsubscribe';

/**
 * Go to the field that fixes it: who gets it and through whom is in the first step.
 * @param {any} app
 * @param {string} risk "" for what cannot be left as it is
 * @param {string} problem
 */
async function goToFault(app, risk, problem) {
  const { page } = app.state;
  const id = /postal/.test(problem) ? 'postal_address' : /unsubscribe/.test(problem) ? 'unsubscribe' : '';
  if (id) page.part = 'more';
  else page.part = page.draft.text || !page.draft.html ? 'text' : 'html';
  await goTo(app, risk || id ? 'message' : 'audience');
  document.getElementById(id || page.part)?.focus();
}

/**
 * @param {import('../icons.js').IconName} shape
 * @param {string} tone
 * @param {string} words
 * @param {unknown} [action]
 */
function item(shape, tone, words, action = html`<span></span>`) {
  return html`<li>
    ${icon(shape, tone)}
    <div>${words}</div>
    ${action}
  </li>`;
}

/** @param {any} app */
function outcome(app) {
  const { page } = app.state;
  const { check, draft } = page;
  const { how = wayOf(draft), at = localTime(draft.schedule?.at) } = page;
  const waits = how === 'trigger';
  const people = how === 'canary' ? Math.min(CANARY, check.remaining) : check.remaining;
  const left = Object.values(check.skipped).reduce((/** @type {number} */ sum, each) => sum + Number(each), 0);
  const rows = [
    ['From', draft.sender || providersOf(draft)[0]],
    ['Through', chainWords(providersOf(draft))],
    ['Starts', starts(page, how, at)],
    ...(check.estimate.seconds ? [['Takes', `at least ${span(check.estimate.seconds)}`]] : []),
    ...(waits ? [] : [['Left out', count(left)]]),
    ...creditRows(check, how, people),
  ];
  const blocked =
    check.problems.some((/** @type {any} */ each) => !each.risk) ||
    !(people || waits) ||
    (how === 'later' && !at) ||
    (how === 'repeat' && !check.upcoming?.length);
  return html`<section aria-labelledby="h-will">
      <div class="sec-head"><h2 id="h-will">When you press Start</h2></div>
      <div class="outcome">
        <div class="big">${waits ? 'Everyone' : count(people)}</div>
        <div class="t2">
          ${waits ? `added to ${draft.trigger?.list ?? ''} gets` : people === 1 ? 'person gets' : 'people get'} this
          ${draft.channel === 'sms' ? 'text' : 'email'}${how === 'canary' ? `; ${count(check.remaining - people)} wait for you` : ''}
        </div>
      </div>
      <dl class="sum">
        ${rows.map(
          ([name, value]) =>
            html`<div>
              <dt>${name}</dt>
              <dd class="cut">${value}</dd>
            </div>`,
        )}
      </dl>
    </section>
    <p class="hint">
      You can pause at any time. Once paused, nothing more is sent; what has been sent cannot be recalled.
    </p>
    <button
      class="btn btn-primary"
      aria-disabled=${blocked ? 'true' : nothing}
      @click=${() => !blocked && start(app, people)}
    >
      ${icon('play')}${waits ? 'Start it…' : `${how === 'repeat' ? 'Repeat for' : how === 'later' ? 'Schedule for' : 'Start with'} ${peopleWord(people)}…`}
    </button>
    <button class="btn" @click=${() => goTo(app, 'message')}>Back</button>`;
}

/**
 * @param {any} page
 * @param {string} how
 * @param {string} [at]
 */
function starts({ check }, how, at) {
  if (how === 'repeat') return check.upcoming?.length ? time(check.upcoming[0], Date.now()) : 'when you say';
  if (how === 'trigger') return 'immediately, and runs until you stop it';
  if (how === 'later') return at ? at.replace('T', ' ') : 'when you say';
  return 'immediately';
}

/**
 * @param {any} app
 * @param {number} people
 */
async function start(app, people) {
  const { page } = app.state;
  const { name } = page.draft;
  const { how = wayOf(page.draft), at = localTime(page.draft.schedule?.at) } = page;
  const to = how === 'background' ? '#/' : address('campaigns', name);
  await askStart(app, name, {
    limit: how === 'canary' ? people : null,
    at: how === 'later' ? withZone(at) : undefined,
    then: () => app.go(to),
  });
}

/** A local time with its offset, as the protocol wants it. @param {string} local such as 2026-12-01T09:00 */
export function withZone(local) {
  const offset = -new Date(local).getTimezoneOffset();
  const two = (/** @type {number} */ value) => String(Math.floor(Math.abs(value))).padStart(2, '0');
  return `${local}:00${offset < 0 ? '-' : '+'}${two(offset / 60)}:${two(offset % 60)}`;
}
