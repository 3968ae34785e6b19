/** Campaigns that repeat and those that wait for a list, without a browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { html, text } from './render.mjs';

const { HOSTILE, NOW, app, view } = await import('./made.mjs');
const at = (path) => import(`../../hubview/page/${path}`);
const { home } = await at('views/home.js');
const { row, since } = await at('views/board.js');
const { about, campaign } = await at('views/campaign.js');
const { blank, toSpec } = await at('draft.js');
const { toToml } = await at('toml.js');
const { toTell } = await at('desktop.js');
const { creditRows, payer, reserves } = await at('views/new-credits.js');
const { inWindow } = await at('views/new-review.js');
const { localTime, wayOf } = await at('views/new-ways.js');
const { desktop, mailed } = await at('views/settings-notify.js');
const { stretch } = await at('views/reports.js');
const { delayWords, occurrence, repeatWords, stopEffects, trigger } = await at('views/series.js');

const WEEKLY = {
  name: 'weekly',
  state: 'scheduled',
  repeats: 'monday 9:00 (Europe/Berlin)',
  next_at: '2026-12-07T08:00:00Z',
  scheduled_at: '2026-12-07T08:00:00Z',
  started_at: null,
};
const TIMES = [
  { at: '2026-11-30T08:00:00Z', outcome: 'overlap', detail: 'weekly.2026-11-23 is running', name: null, state: null },
  { at: '2026-11-23T08:00:00Z', outcome: 'started', detail: '', name: 'weekly.2026-11-23', state: 'running' },
  { at: '2026-11-16T08:00:00Z', outcome: 'failed', detail: 'its list is gone', name: null, state: null },
  { at: '2026-11-09T08:00:00Z', outcome: 'missed', detail: '', name: null, state: null },
  { at: '2026-11-02T08:00:00Z', outcome: 'started', detail: '', name: 'weekly.2026-11-02', state: null },
];

function withSeries(given = {}, page = {}, role = 'operator') {
  const begun = view({ name: 'weekly.2026-11-23', series: 'weekly', counts: { sent: 40, pending: 60 } });
  const made = app([view({ ...WEEKLY, ...given }), begun], { path: '/campaigns/weekly', page, role });
  made.state.occurrences.set('weekly', TIMES);
  return made;
}

test('when a campaign repeats is said as one would say it', () => {
  const cases = [
    ['monday 9:00 (Europe/Berlin)', 'Every Monday at 9:00'],
    ['monday and thursday 9am (UTC)', 'Every Monday and Thursday at 9am'],
    ['every friday 18:30 (UTC)', 'Every Friday at 18:30'],
    ['daily 8:00 (UTC)', 'Daily at 8:00'],
    ['monthly on the last friday 9:00 (UTC)', 'Monthly on the last Friday at 9:00'],
    ['yearly on december 24 9:00 (UTC)', 'Yearly on December 24 at 9:00'],
    ['2 hours (UTC)', 'Every 2 hours'],
    ['0 9 * * 1-5 (UTC)', 'By cron: 0 9 * * 1-5'],
  ];
  for (const [given, said] of cases) assert.equal(repeatWords(given), said);
});

test('home says of a campaign that repeats when it is next and what became of the last time', () => {
  const made = withSeries();
  const shown = text(row(made, made.state.campaigns.get('weekly'), NOW));
  assert.match(
    shown,
    /Every Monday at 9:00 next 7 Dec, \d\d:00, last 30 Nov, \d\d:00: skipped: the one before it had not ended/,
  );
  made.state.occurrences.set('weekly', TIMES.slice(1));
  assert.match(text(row(made, made.state.campaigns.get('weekly'), NOW)), /last 23 Nov, .*: running/);
  made.state.occurrences.clear();
  assert.match(text(home(made, NOW)), /never sent yet/);
});

test('the page of a series has its times with their campaigns, and those that were skipped or failed', () => {
  const page = { occurrences: TIMES, upcoming: ['2026-12-07T08:00:00Z'], spec: {} };
  const shown = campaign(withSeries({}, page), NOW);
  assert.match(text(shown), /Every Monday at 9:00 time of Europe\/Berlin Next: 7 Dec/);
  assert.match(text(shown), /Skipped: the one before it had not ended Weekly.2026-11-23 is running/);
  assert.match(text(shown), /Failed Its list is gone/);
  assert.match(text(shown), /Skipped: hubd was not running/);
  assert.match(text(shown), /weekly.2026-11-02 \(deleted\)/);
  assert.match(html(shown), /href="#\/campaigns\/weekly.2026-11-23"/);
  assert.match(text(shown), /Stop…/);
  const stopped = campaign(withSeries({ state: 'stopped', next_at: null }, { ...page, upcoming: [] }), NOW);
  assert.match(text(stopped), /Start again….* It has no further time/);
  assert.doesNotMatch(text(campaign(withSeries({}, page, 'viewer'), NOW)), /Stop…/);
});

test('what stopping a series does is said in numbers of what goes on', () => {
  assert.deepEqual(stopEffects(withSeries().state, 'weekly')[1], ['1', 'of its campaigns has begun and continues']);
  assert.deepEqual(stopEffects(app([]).state, 'weekly')[1], ['0', 'of its campaigns have begun and continue']);
});

test('an occurrence leads back to its series', () => {
  const made = withSeries();
  made.state.route.params.name = 'weekly.2026-11-23';
  assert.match(html(campaign(made, NOW)), /A time of <a href="#\/campaigns\/weekly">weekly<\/a>/);
});

test('a triggered campaign says its list, its delay, who waits and what was sent today', () => {
  const given = view({ name: 'welcome', trigger: 'newcomers', lists: ['newcomers'], counts: { pending: 3, sent: 4 } });
  const page = { spec: { trigger: { list: 'newcomers', delay: '1h 30m' } }, today: { sent: 2, failed: 1 } };
  const made = app([given], { path: '/campaigns/welcome', page });
  assert.match(
    text(trigger(made, given)),
    /Added to newcomers 1 h 30 min later Joined so far 7 .* Waiting 3 .* Sent today 2 1 failed/,
  );
  assert.match(text(trigger(app([given], { page: {} }), given)), /Sent today - being asked for/);
  assert.match(about(given, NOW), /to everybody added to newcomers/);
  assert.equal(since(given, NOW), 'added to newcomers');
  assert.match(text(campaign(made, NOW)), /Added to newcomers/);
});

test('a delay is said in words', () => {
  const cases = [
    ['0s', 'at once'],
    ['', 'at once'],
    ['2 days', '2 d later'],
    ['90m', '1 h 30 min later'],
  ];
  for (const [delay, said] of cases) assert.equal(delayWords(delay), said);
});

test('nothing in what became of a time becomes markup', () => {
  const bad = { at: null, outcome: HOSTILE, detail: HOSTILE, name: HOSTILE, state: HOSTILE };
  for (const outcome of ['started', 'failed', HOSTILE]) {
    assert.doesNotMatch(html(occurrence(app([]).state, { ...bad, outcome }, NOW)), /<script>/);
  }
  const made = withSeries({ repeats: HOSTILE });
  assert.doesNotMatch(html(row(made, made.state.campaigns.get('weekly'), NOW)), /<script>/);
});

test('a draft is started the way that its file says', () => {
  assert.equal(wayOf({}), 'watch');
  assert.equal(wayOf({ schedule: { at: '2026-12-01T09:00:00+01:00' } }), 'later');
  assert.equal(wayOf({ schedule: { cron: '0 9 * * 1', timezone: 'UTC' } }), 'repeat');
  assert.equal(wayOf({ trigger: { list: 'newcomers' }, schedule: { window: '8:00-21:00' } }), 'trigger');
  assert.equal(new Date(localTime('2026-12-01T09:00:00+01:00')).toISOString(), '2026-12-01T08:00:00.000Z');
  assert.equal(localTime(undefined), '');
  assert.equal(localTime('nonsense'), '');
});

test('a campaign with a trigger is the same as its file, and one without has no table for it', () => {
  const draft = { ...blank(), name: 'welcome', text: 'Hi', trigger: { list: 'newcomers', on: 'added', delay: '1h' } };
  assert.match(toToml(toSpec(draft)), /\n\[trigger\]\nlist = "newcomers"\non = "added"\ndelay = "1h"\n/);
  assert.doesNotMatch(toToml(toSpec({ ...blank(), name: 'x' })), /trigger|lists/);
});

test('the last step says what is reserved and left, and what is missing with the way to top up', () => {
  const need = { account: 'team', needed: 300, held: 0, available: 5000, missing: 0 };
  assert.equal(reserves(need), 'It reserves 300 credits of team, which has 5,000; 4,700 are left then.');
  assert.equal(reserves({ ...need, held: 300 }), 'It reserves no further credit of team; 5,000 are available.');
  assert.match(reserves(need, true), /the credits of each when they are added; team has 5,000/);
  const check = { credits: need, channel: 'email' };
  const rows = (how, people) => Object.fromEntries(creditRows(check, how, people));
  assert.deepEqual(rows('watch', 300), { Reserves: '300 credits of team', 'Left then': '4,700' });
  assert.deepEqual(rows('canary', 100), { Reserves: '100 credits of team', 'Left then': '4,900' });
  assert.match(rows('repeat', 300).Reserves, /at each time/);
  assert.deepEqual(creditRows({ credits: null, channel: 'email' }, 'watch', 300), []);
  const short = { ...need, available: 20, missing: 280 };
  const page = {
    draft: { ...blank(), credits: 'team' },
    accounts: [{ name: 'team' }],
    check: { credits: short },
    faults: {},
  };
  const shown = text(payer(app([], { page })));
  assert.match(shown, /280 credits are missing. It cannot start before team has them. Top up…/);
  assert.equal(creditRows({ credits: short, channel: 'email' }, 'watch', 300)[1][1], '280 too few');
  assert.equal(text(payer(app([], { page: { ...page, draft: blank(), accounts: [] } }))), '');
  const problem = 'it needs 9 credits: 2 are missing; to add them: hubctl credits grant team 2';
  assert.equal(inWindow(problem), 'It needs 9 credits: 2 are missing', 'no command where a button does it');
});

test('the browser notifies only where hubview does not, somebody allowed it, and nobody looks', () => {
  const event = { type: 'notification.added', data: { id: 7, headline: HOSTILE } };
  const allowed = { notifies: false, seen: false, permission: 'granted' };
  assert.deepEqual(toTell(event, allowed), { title: HOSTILE, tag: 'messagehub-7' });
  for (const other of [{ notifies: true }, { seen: true }, { permission: 'default' }]) {
    assert.equal(toTell(event, { ...allowed, ...other }), null);
  }
  assert.equal(toTell({ type: 'campaign.state', data: {} }, allowed), null);
});

test('settings say who is told, and offer what the browser has not been asked for', () => {
  assert.match(text(desktop(app(), true, '')), /as long as hubview is open/);
  assert.match(text(desktop(app(), false, 'default')), /Allow notifications/);
  assert.match(text(desktop(app(), false, 'denied')), /blocks/);
  assert.match(text(mailed({})), /nobody/);
  assert.equal(
    text(mailed({ email: ['ops@acme.example'], provider: 'relay', on: ['paused', 'in_doubt'] })),
    'ops@acme.example, through relay, about: paused, in doubt.',
  );
});

test('last month is the calendar month before this one', () => {
  const dates = (now) => {
    const { since, until } = stretch('last', now);
    return [since, until];
  };
  assert.deepEqual(dates(new Date(2026, 11, 1, 0, 0)), ['2026-11-01', '2026-11-30']);
  assert.deepEqual(dates(new Date(2028, 2, 31, 23, 59)), ['2028-02-01', '2028-02-29']);
  assert.deepEqual(dates(new Date(2027, 0, 15)), ['2026-12-01', '2026-12-31']);
  assert.equal(stretch('nonsense', new Date()).since, '30 days');
});
