/** The views are functions of what is known: no browser is needed to see what they show. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { html, text } from './render.mjs';

const { NOW, STATES, HOSTILE, app, counts, view } = await import('./made.mjs');

const at = (path) => import(`../../hubview/page/${path}`);
const { initial, takeAll, takeEvent, takeOne, board, needs, KEPT_SAMPLES } = await at('store.js');
const { segments, spoken, figures } = await at('parts.js');
const format = await at('format.js');
const { route, handedOver, address } = await at('router.js');
const { home } = await at('views/home.js');
const { chosenOf, row, since, visible } = await at('views/board.js');
const { VERBS, fitting, outcome } = await at('batch.js');
const { campaign } = await at('views/campaign.js');
const { linePath, scale, funnel, progress } = await at('views/campaign-overview.js');
const { failureRow, failures } = await at('views/campaign-failures.js');
const { folded, told } = await at('views/campaign-log.js');
const { lifeLine } = await at('views/campaign-message.js');
const { email } = await at('views/preview.js');
const { toToml } = await at('toml.js');
const { missing, toSpec, blank, providerKey, providersOf } = await at('draft.js');
const { audience, providerFor } = await at('views/new-audience.js');
const { inbox, headline, readFrom } = await at('views/inbox.js');
const { reports, parts } = await at('views/reports.js');
const { wholeNumber } = await at('views/credits.js');
const { settings } = await at('views/settings.js');
const { findingsIn, spanOfLine } = await at('findings.js');
const { editor } = await at('views/editor.js');
const { valuesOf, listName } = await at('importing.js');
const { Rows, inView, topOf, ROW, PAGE_ROWS } = await at('rows.js');
const { accountOf, answersOf } = await at('views/provider-form.js');
const { inWindow, withZone } = await at('views/new-review.js');

/** Numbers that are the same in every run. */
function* random(seed) {
  for (let value = seed; ;) yield (value = (value * 1103515245 + 12345) % 2147483648) / 2147483648;
}

test('whatever the counts, a bar is never wider than its track and shows all that is not 0', () => {
  const dice = random(7);
  for (let round = 0; round < 2000; round += 1) {
    const given = {};
    for (const name of STATES) {
      const roll = dice.next().value;
      given[name] = roll < 0.4 ? 0 : Math.floor(10 ** (6 * dice.next().value));
    }
    const all = counts(given);
    const parts = segments(all);
    const shown = STATES.filter((name) => all[name] > 0 && !['pending', 'sending'].includes(name));
    assert.deepEqual(new Set(parts.map((part) => part.name)), new Set(shown));
    let end = 0;
    for (const part of parts) {
      assert.ok(Math.abs(part.from - end) < 1e-9);
      assert.ok(part.width >= 1.1 - 1e-9, JSON.stringify(all));
      end = part.from + part.width;
    }
    assert.ok(end <= 100 + 1e-6, `${end} of ${JSON.stringify(all)}`);
  }
});

test('a bar says all its counts to who cannot see it', () => {
  assert.equal(spoken(counts({ sent: 29870, in_doubt: 3, pending: 1 })), '29,870 sent, 3 in doubt, 1 pending');
  assert.equal(spoken(counts()), 'nothing sent');
});

test('sent is not delivered, in doubt is not failed, and what is not known is not 0', () => {
  const shown = text(figures(counts({ sent: 5, in_doubt: 2, failed: 1 }), 'running'));
  assert.match(shown, /5 sent/);
  assert.match(shown, /2 in doubt/);
  assert.match(shown, /1 failed/);
  assert.doesNotMatch(shown, /delivered/);
  assert.match(text(funnel(view({ counts: { sent: 5 } }))), /Delivered - no receipts have come/);
  assert.match(text(progress(view({ counts: { sent: 5 } }), NOW)), /Delivered - .*no receipts/);
});

test('a share never says all or nothing when it is not so', () => {
  assert.equal(format.percent(1, 1_000_000), '< 0.1%');
  assert.equal(format.percent(999_999, 1_000_000), '> 99.9%');
  assert.equal(format.percent(0, 10), '0%');
  assert.equal(format.percent(10, 10), '100%');
  assert.equal(format.percent(0, 0), '-');
});

test('lengths of time and points in time are short and clear', () => {
  const cases = [
    [0.2, 'less than 1 s'],
    [59, '59 s'],
    [300, '5 min'],
    [6300, '1 h 45 min'],
    [90000, '1 d 1 h'],
    [null, '-'],
  ];
  for (const [seconds, words] of cases) assert.equal(format.span(seconds), words);
  assert.equal(format.time('2026-12-01T08:05:00Z', NOW, { zone: 'UTC' }), '08:05');
  assert.equal(format.time('2026-11-30T08:05:00Z', NOW, { zone: 'UTC' }), '30 Nov, 08:05');
  assert.equal(format.time('2025-11-30T08:05:00Z', NOW, { zone: 'UTC' }), '30 Nov 2025, 08:05');
  assert.equal(format.time(null, NOW), '-');
  assert.equal(format.time('nonsense', NOW), '-');
});

test('an address leads to its page, also with anything in a name', () => {
  for (const name of ['spring-sale', 'a/b', 'ä%2F', '100%', '']) {
    if (name) assert.deepEqual(route(address('campaigns', name).slice(1)).params, { name });
  }
  assert.equal(route('/campaigns/x/failures').params.tab, 'failures');
  assert.equal(route('/nowhere').name, 'missing');
  assert.deepEqual(handedOver('#key=aB-_9&at=/campaigns/x'), { key: 'aB-_9', path: '/campaigns/x' });
  assert.equal(handedOver('#/campaigns/x'), null);
});

test('events change the figures, and name the campaigns that have to be asked for', () => {
  const { state } = app([view()]);
  const event = (type, data = {}, name = 'spring-sale') =>
    takeEvent(state, { type, campaign: name, data, epoch: 1, seq: 1, ts: '' }, NOW);
  assert.deepEqual(event('campaign.progress', { campaign: view({ counts: { sent: 9 } }) }), []);
  assert.equal(state.campaigns.get('spring-sale').counts.sent, 9);
  assert.deepEqual(event('delivery.failed'), [], 'live figures follow by themselves');
  assert.deepEqual(event('campaign.state', { from: 'running', to: 'paused', reason: 'limit' }), ['spring-sale']);
  assert.equal(state.campaigns.get('spring-sale').state, 'paused');
  assert.deepEqual(event('delivery.resolved'), ['spring-sale']);
  assert.deepEqual(event('campaign.applied', {}, 'new-one'), ['new-one']);
  event('campaign.archived', { archived: true });
  assert.deepEqual(board(state), []);
  event('campaign.deleted');
  assert.equal(state.campaigns.size, 0);
});

test('a day of live figures is held in constant memory, and silence is a gap', () => {
  const { state } = app([view()]);
  for (let second = 0; second < 86400; second += 1) takeOne(state, view({ rate: second }), NOW + 1000 * second);
  assert.equal(state.samples.get('spring-sale').length, KEPT_SAMPLES);
  takeOne(state, view({ rate: 1 }), NOW + 1000 * 90000);
  assert.equal(state.samples.get('spring-sale').at(-2).rate, null);
  takeAll(state, [], []);
  assert.equal(state.samples.size, 0);
});

test('a line breaks where the rate is not known, and the axis begins at 0', () => {
  const samples = [
    { at: 0, rate: 10 },
    { at: 50, rate: 20 },
    { at: 60, rate: null },
    { at: 100, rate: 0 },
  ];
  assert.equal(linePath(samples, 0, 100, 20), 'M0.0 50.00L500.0 0.00M1000.0 100.00');
  for (const value of [0, 3, 4, 5, 41, 118, 8500]) assert.ok(scale(value) >= value && scale(value) % 4 === 0);
});

test('home shows what needs a person on top, and nothing of it when nobody is needed', () => {
  const calm = app([view()]);
  assert.doesNotMatch(text(home(calm, NOW)), /Needs you/);
  const trouble = app([
    view({ name: 'held', in_doubt: 'hold', counts: { in_doubt: 3 } }),
    view({ name: 'stuck', state: 'paused', reason: 'login refused' }),
    view({ name: 'mine', state: 'paused' }),
  ]);
  trouble.state.providers = [{ name: 'relay', state: 'stopped', reason: 'wrong password' }];
  const shown = text(home(trouble, NOW));
  assert.match(
    shown,
    /Needs you 3 .*3 messages of held are in doubt .* stuck is paused Login refused .* relay is not sending/,
  );
  assert.deepEqual(
    needs(trouble.state).map((each) => each.kind),
    ['in_doubt', 'paused', 'provider'],
  );
});

test('before the first campaign home leads to it, and a viewer is promised nothing', () => {
  assert.match(text(home(app([]), NOW)), /Send your first campaign .*Choose a CSV .*New campaign/);
  const viewer = text(home(app([], { role: 'viewer' }), NOW));
  assert.doesNotMatch(viewer, /CSV|New campaign/);
});

test('the board is filtered by state, name and provider', () => {
  const views = [
    view(),
    view({ name: 'other', state: 'completed', provider: 'twilio' }),
    view({ name: 'soon', state: 'draft' }),
  ];
  const names = (group, filter) => visible(views, group, filter).map((each) => each.name);
  assert.deepEqual(names('all', ''), ['spring-sale', 'other', 'soon']);
  assert.deepEqual(names('active', ''), ['spring-sale']);
  assert.deepEqual(names('finished', ''), ['other']);
  assert.deepEqual(names('all', ' TWI '), ['other']);
  assert.deepEqual(names('upcoming', 'zzz'), []);
  const labelled = [view({ labels: ['spring', 'vip'] }), view({ name: 'other', labels: [] })];
  assert.deepEqual(
    visible(labelled, 'all', '', 'vip').map((each) => each.name),
    ['spring-sale'],
  );
});

test('nothing is done to a campaign that is chosen and not seen, nor to one in a state that does not allow it', () => {
  const views = [view(), view({ name: 'gone', state: 'completed' })];
  assert.deepEqual([...chosenOf({ chosen: new Set(['spring-sale', 'hidden']) }, views)], ['spring-sale']);
  assert.deepEqual([...chosenOf({}, views)], []);
  const names = (verb) => fitting(verb, views).map((each) => each.name);
  assert.deepEqual(Object.keys(VERBS).map(names), [[], ['spring-sale'], [], ['spring-sale'], ['gone']]);
});

test('of several campaigns it is said how many were done', () => {
  const rows = (...results) => results.map((result) => ({ name: 'x', people: 1, result }));
  assert.equal(outcome(rows('done', 'done', undefined), 'paused'), '2 campaigns paused');
  assert.equal(outcome(rows('done', 'failed', undefined), 'paused'), '1 of 2 campaigns paused');
  assert.equal(outcome(rows('failed'), 'paused'), '0 of 1 campaign paused');
});

test('with a ticket of a viewer no control that changes something is there, in any state', () => {
  for (const state of ['draft', 'scheduled', 'running', 'paused', 'stopped', 'completed', 'failed']) {
    const shown = view({
      state,
      reason: state === 'paused' ? 'limit' : '',
      counts: { failed: 2, in_doubt: 1, sent: 5 },
    });
    const page = {
      groups: [{ class: 'in_doubt', count: 1, detail: 'x', code: 0, state: 'in_doubt', reason: 'answer_lost' }],
      spec: {},
    };
    for (const tab of ['', '/failures', '/content', '/log']) {
      const viewer = app([shown], { role: 'viewer', path: `/campaigns/spring-sale${tab}`, page });
      const controls = html(campaign(viewer, NOW)).replace(/<button[^>]*>[^]*?Save as [^]*?<\/button>/, '');
      assert.doesNotMatch(controls, /<button|<details|>Edit|Recipients/, `${state} ${tab}`);
    }
    const viewer = app([shown], { role: 'viewer' });
    assert.doesNotMatch(html(home(viewer, NOW)), /aria-label="(Pause|Resume|Stop|Edit|Select)/);
  }
});

test('a campaign offers what can be done with it, and no more than that', () => {
  const offered = (state, given = {}) =>
    text(campaign(app([view({ state, ...given })], { path: '/campaigns/spring-sale' }), NOW));
  assert.match(offered('running'), /Pause P Stop…/);
  assert.match(offered('paused'), /Resume P Stop…/);
  assert.match(offered('draft'), /Start… Edit/);
  assert.match(offered('stopped'), /Start again…/);
  assert.match(offered('completed', { counts: { failed: 1 } }), /Retry failed…/);
  assert.doesNotMatch(offered('completed', { counts: { sent: 1 } }), /Retry|Stop…|Pause/);
});

test('a campaign that is not there any more is said so', () => {
  const gone = app([], { path: '/campaigns/spring-sale', page: { missing: true } });
  assert.match(text(campaign(gone, NOW)), /There is no campaign spring-sale/);
});

test('nothing in a name, a reason or an answer becomes markup', () => {
  const shown = view({ name: HOSTILE, reason: HOSTILE, state: 'paused', last_error: HOSTILE, provider: HOSTILE });
  const spots = [
    row(app([shown]), shown, NOW),
    campaign(app([shown], { path: address('campaigns', HOSTILE).slice(1) }), NOW),
    failureRow(app(), shown, {
      class: 'permanent',
      count: 1,
      detail: HOSTILE,
      provider_reply: HOSTILE,
      code: 550,
      state: 'failed',
      reason: HOSTILE,
    }),
    lifeLine({
      delivery: { campaign: HOSTILE, state: 'failed', reason: HOSTILE },
      attempts: [{ n: 1, provider: HOSTILE, outcome: 'failed', detail: HOSTILE }],
    }),
    email({ text: HOSTILE, frame: '' }, 'text'),
  ];
  for (const spot of spots) assert.doesNotMatch(html(spot), /<script>/);
});

test('foreign HTML is shown in a frame without rights, at an address and never inline', () => {
  const shown = html(email({ text: 'plain', html: '<b>x</b>', frame: '/preview/abc' }, 'desktop'));
  assert.match(shown, /<iframe[^>]*sandbox=""/);
  assert.match(shown, /src="\/preview\/abc"/);
  assert.doesNotMatch(shown, /<b>x<\/b>|allow-|srcdoc/);
});

test('the line below a state says why before it says since when', () => {
  assert.equal(since(view({ last_error: 'waiting for relay' }), NOW), 'waiting for relay');
  assert.match(since(view(), NOW), /^since /);
  assert.equal(
    since(view({ state: 'paused', reason: 'limit', counts: { sent: 9, pending: 5 } }), NOW),
    'the first 9 were sent',
  );
});

test('a run of the same failures is one line of the log', () => {
  const failed = (id, reason) => ({ type: 'delivery.failed', data: { delivery_id: id, reason }, ts: '' });
  const lines = folded([failed(1, 'mailbox_full'), failed(2, 'mailbox_full'), failed(3, 'blocked')]);
  assert.deepEqual(
    lines.map((line) => line.more),
    [0, 1],
  );
  assert.equal(told(failed(1, 'mailbox_full')), 'Message 1 failed: mailbox full');
  assert.equal(
    told({ type: 'campaign.state', data: { from: 'running', to: 'paused', reason: 'limit' } }),
    'Running to paused: limit',
  );
});

test('a draft says what is missing, and hands over only what its channel has', () => {
  assert.deepEqual(Object.keys(missing(blank())).sort(), ['name', 'sender', 'subject', 'text']);
  assert.ok(missing({ ...blank(), name: 'Ä b' }).name);
  const sms = { ...blank(), channel: 'sms', name: 'x', text: 'hi', subject: 'left over', retry: { give_up_after: '' } };
  assert.deepEqual(missing(sms), {});
  assert.deepEqual(toSpec(sms), { name: 'x', channel: 'sms', provider: 'outbox', kind: 'marketing', text: 'hi' });
});

test('a row of a file is sent under the names of its columns, without what is left out or empty', () => {
  assert.deepEqual(valuesOf(['a@x', '', 'Köln', 'z'], ['email', 'phone', null, 'plan']), { email: 'a@x', plan: 'z' });
  assert.equal(listName('Kunden November (2).csv'), 'kunden-november-2');
  assert.equal(listName('....'), 'contacts');
});

test('a draft has one provider or several in order, and its file says so', () => {
  const several = { ...blank(), name: 'x', provider: ['relay', 'ses'] };
  assert.deepEqual(providersOf(several), ['relay', 'ses']);
  assert.match(toToml(toSpec(several)), /^provider = \["relay", "ses"\]$/m);
  assert.match(toToml(toSpec({ ...several, provider: providerKey(['ses']) })), /^provider = "ses"$/m);
  const providers = [
    { name: 'relay', type: 'smtp', channels: ['email'] },
    { name: 'outbox', type: 'outbox', channels: ['email', 'sms'] },
    { name: 'text', type: 'twilio', channels: ['sms'] },
  ];
  assert.deepEqual(providerFor(providers, 'sms', ['relay', 'text', 'outbox']), ['text', 'outbox']);
  assert.equal(providerFor(providers, 'sms', ['relay']), 'outbox');
  const { state } = app([]);
  Object.assign(state, {
    providers,
    lists: [],
    page: { draft: { ...several, provider: ['relay', 'gone'] }, faults: {} },
  });
  assert.match(text(audience({ state })), /relay \(smtp\) .*gone \(not configured\)/);
  assert.match(html(audience({ state })), /aria-label="Prefer gone"/);
});

test('a campaign as a file has only what is set, and every text survives', () => {
  const file = toToml({
    name: 'x',
    html: '',
    rate: [],
    text: 'a "quote"\\ and\ttab\nsecond\r\n"""',
    schedule: { at: null, window: '08:00-21:00' },
    retry: { give_up_after: '' },
  });
  assert.equal(
    file,
    'name = "x"\ntext = """\na "quote"\\\\ and\\ttab\nsecond\\u000d\n\\"\\"\\""""\n\n[schedule]\nwindow = "08:00-21:00"\n',
  );
});

const option = (key, given = {}) => ({
  key,
  writes: key,
  label: key,
  placeholder: '',
  choices: [],
  only_with: null,
  ...given,
});
const SMTP = {
  word: 'smtp',
  type: 'smtp',
  chosen_by: '',
  title: 'Another',
  advice: '',
  name: 'office',
  options: [
    option('host'),
    option('auth', { choices: ['password', 'xoauth2'] }),
    option('client_id', { writes: 'oauth2.client_id', only_with: ['auth', 'xoauth2'] }),
  ],
  secrets: [
    { key: 'password', label: 'Password', optional: true, only_with: ['auth', 'password'] },
    { key: 'oauth2.refresh_token', label: 'Token', optional: false, only_with: ['auth', 'xoauth2'] },
    { key: 'oauth2.client_secret', label: 'Secret', optional: true, only_with: ['auth', 'xoauth2'] },
  ],
};

test('of an account only what was asked about its kind is handed over', () => {
  const answers = { name: ' office ', host: 'h', account_sid: 'left over', client_id: 'x', 'secret:password': 'p' };
  assert.deepEqual(accountOf(SMTP, answers), { type: 'smtp', name: 'office', host: 'h', secret: 'p' });
  const token = {
    name: 'o',
    auth: 'xoauth2',
    client_id: 'id',
    'secret:oauth2.refresh_token': 't',
    'secret:password': 'p',
  };
  assert.deepEqual(accountOf(SMTP, token), { type: 'smtp', name: 'o', auth: 'xoauth2', client_id: 'id', secret: 't' });
  assert.equal(accountOf({ ...SMTP, word: 'gmail', chosen_by: 'preset' }, {}).preset, 'gmail');
});

test('of an account that is changed only what is different is handed over', () => {
  const settings = [
    { key: 'providers.office.host', value: 'old', source: 'file' },
    { key: 'providers.office.rate', value: ['5/s', '9/day'], source: 'file' },
    { key: 'providers.office.oauth2.client_id', value: 'id', source: 'file' },
    { key: 'providers.office.auth', value: 'password', source: 'default' },
    { key: 'providers.other.host', value: 'other', source: 'file' },
  ];
  const before = answersOf(SMTP, 'office', settings);
  assert.deepEqual(before, { host: 'old', rate: '5/s, 9/day', client_id: 'id' });
  assert.deepEqual(accountOf(SMTP, { ...before }, before), { name: '' });
  assert.deepEqual(accountOf(SMTP, { ...before, host: 'new', rate: '' }, before), { name: '', host: 'new', rate: '' });
});

test('files are named in it as they lie beside it, and tables come last', () => {
  const spec = {
    name: 'x',
    headers: { 'X-A b': '1' },
    attachments: [{ name: 'f.pdf', sha256: '0', size: 1 }],
    inline: [],
  };
  assert.equal(toToml(spec), 'name = "x"\nattachments = ["f.pdf"]\n\n[headers]\n"X-A b" = "1"\n');
});

test('what the check found is told in the words of the window', () => {
  const found = 'a marketing email needs an unsubscribe link (key: unsubscribe)';
  assert.equal(inWindow(found), 'A marketing email needs an unsubscribe link');
  const variable = 'the message has {{ unsubscribe_url }}; set it with the key unsubscribe';
  assert.equal(inWindow(variable), 'The message has {{ unsubscribe_url }}; say where people unsubscribe');
});

test('who was left out is told where nothing failed', () => {
  const { state } = app([], { page: { groups: [] } });
  const shown = text(failures({ state }, view({ counts: { skipped: 2, sent: 5 } })));
  assert.match(shown, /Nothing failed 2 people were left out .*Show skipped Save who did not get it/);
  assert.match(text(failures({ state }, view({ counts: { sent: 5 } }))), /Nothing went wrong/);
});

test('a local time carries its offset', () => {
  assert.match(withZone('2026-12-01T09:00'), /^2026-12-01T09:00:00[+-]\d\d:\d\d$/);
});

test('of a list of any length only what is in view is drawn, to the very last row', () => {
  for (const total of [0, 1, 14, 3001, 1_000_000, 10_000_000]) {
    const height = 450;
    const { tall } = inView(total, 0, height);
    assert.ok(tall <= 30_000_000);
    const end = inView(total, Math.max(0, tall - height), height);
    assert.equal(end.last, total);
    assert.ok(end.last - end.first < 50);
    if (total * ROW > height) assert.ok(Math.abs(end.shift + (end.last - end.first) * ROW - height) < ROW);
    assert.equal(inView(total, 0, height).first, 0);
  }
});

test('any place of a million rows is one question away, and few of them are held', async () => {
  const total = 1_000_000;
  const asked = [];
  const fetch = async (after, limit, skip) => {
    asked.push([after, skip]);
    const from = after + skip;
    const rows = Array.from({ length: Math.max(0, Math.min(limit, total - from)) }, (_, n) => ({ id: from + n + 1 }));
    return { rows, next: from + rows.length < total ? from + rows.length : null };
  };
  const rows = new Rows(fetch, total, () => {});
  rows.want(0, 30);
  await rows.reading;
  assert.deepEqual(asked.splice(0), [[0, 0]]);
  rows.want(total - 20, total);
  await rows.reading;
  assert.equal(rows.row(total - 1).id, total);
  assert.equal(asked.splice(0).length, 1);
  const dice = random(3);
  for (let jump = 0; jump < 300; jump += 1) {
    const from = Math.floor(total * dice.next().value);
    rows.want(from, from + 30);
    await rows.reading;
    for (let index = from; index < Math.min(from + 30, total); index += 1) assert.equal(rows.row(index).id, index + 1);
    assert.ok(asked.splice(0).length <= 2);
    assert.ok(rows.pages.size <= 30);
  }
});

test('while a far place is being fetched only the place wanted last is fetched after it', async () => {
  const asked = [];
  const fetch = async (after, limit, skip) => {
    asked.push(after + skip);
    await undefined;
    return { rows: Array.from({ length: limit }, () => ({ id: 1 })), next: after + skip + limit };
  };
  const rows = new Rows(fetch, 1_000_000, () => {});
  for (let at = 0; at < 900_000; at += 5_000) rows.want(at, at + 10);
  await rows.reading;
  assert.deepEqual(asked, [0, 895_000]);
});

test('however much shorter a list has become, its end is found', async () => {
  for (const left of [0, 1, PAGE_ROWS, 7 * PAGE_ROWS, 7 * PAGE_ROWS + 3, 999_999]) {
    let questions = 0;
    const fetch = async (after, limit, skip) => {
      questions += 1;
      const from = after + skip;
      const rows = Array.from({ length: Math.max(0, Math.min(limit, left - from)) }, (_, n) => ({ id: from + n + 1 }));
      return { rows, next: rows.length === limit ? from + rows.length : null };
    };
    const rows = new Rows(fetch, 1_000_000, () => {});
    rows.want(999_900, 1_000_000);
    await rows.reading;
    for (let turn = 0; turn < 20 && !rows.complete; turn += 1) {
      rows.want(rows.total - 10, rows.total);
      await rows.reading;
    }
    assert.equal(rows.total, left);
    assert.ok(questions < 40, `${questions} for ${left}`);
  }
});

test('a list that cannot be fetched says so, and asks again only for another place', async () => {
  let questions = 0;
  let place = 0;
  const broken = new Rows(
    async () => {
      questions += 1;
      throw new Error('lost');
    },
    1000,
    () => broken.want(place, place + 10), // it is drawn again
  );
  broken.want(0, 10);
  await broken.reading;
  assert.equal(broken.error.message, 'lost');
  assert.equal(questions, 1);
  place = 500;
  broken.want(500, 510);
  await broken.reading;
  assert.equal(questions, 2);
});

test('a row is found by its number, also in a list that is taller than an element may be', () => {
  const dice = random(11);
  for (const total of [1, 14, 3001, 1_000_000, 10_000_000]) {
    for (let round = 0; round < 50; round += 1) {
      const index = Math.floor(total * dice.next().value);
      const shown = inView(total, Math.round(topOf(total, index, 450)), 450);
      assert.ok(shown.first <= index && index < shown.last, `${index} of ${total}`);
    }
  }
});

test('what was found in a text stands beside its line, the worst first to the eye', () => {
  const faults = { 'text line 3': 'unknown field', 'html line 1': 'elsewhere', sender: 'missing' };
  const warnings = [{ path: 'text line 2', problem: 'looks like a field' }];
  const found = findingsIn('text', faults, warnings);
  assert.deepEqual(
    found.map((each) => [each.line, each.bad]),
    [
      [2, false],
      [3, true],
    ],
  );
  const page = { draft: { text: `Hi\n${HOSTILE}\nthird` }, faults, warnings };
  const shown = html(editor(page, 'text', () => {}));
  assert.match(shown, /class="?odd"?/);
  assert.match(shown, /class="?bad"?/);
  assert.ok(!shown.includes('<script>'));
  assert.ok(!html(editor({ draft: { text: 'Hi' }, faults: {} }, 'text', () => {})).includes('marks'));
});

test('a line of a text is found whatever the text is', () => {
  for (const text of ['', 'one', 'one\ntwo', '\n\n', 'é\n😀\nlast']) {
    const lines = text.split('\n');
    lines.forEach((line, index) => assert.equal(text.slice(...spanOfLine(text, index + 1)), line));
    const [from, to] = spanOfLine(text, lines.length + 5);
    assert.ok(from === to && to === text.length);
  }
});

test('what cannot be switched on this machine is not shown', () => {
  const app = (login) => ({ state: { ...initial(), page: { login } } });
  assert.ok(!text(settings(app(undefined))).includes('When you log in'));
  assert.ok(!text(settings(app({ possible: false, on: false }))).includes('When you log in'));
  assert.ok(text(settings(app({ possible: true, on: true }))).includes('When you log in'));
});

test('credits are whole numbers, however thousands are written', () => {
  for (const [written, number] of [
    ['1900', 1900],
    ['1,900', 1900],
    ["1'900", 1900],
    [' 12 345 678 ', 12345678],
    ['-5', -5],
  ])
    assert.equal(wholeNumber(written), number);
  for (const none of ['', '2.5', '1,9', '12,34', '1e3', 'five', '--1', '1,2345'])
    assert.ok(Number.isNaN(wholeNumber(none)), none);
});

const ITEM = {
  id: 3,
  kind: 'reply',
  original_kind: 'reply',
  at: '2026-12-01T09:00:00Z',
  from: HOSTILE,
  mailbox: 'mailbox bounces',
  campaign: 'spring-sale',
  delivery_id: 12,
  reason: '',
  provider_reply: '',
  subject: 'Re: Hello',
  text: `Please stop\n${HOSTILE}`,
  quoted: '',
  decision: 'waiting',
  answer_id: null,
};

test('what came back is named in words, and what waits for a decision says so', () => {
  assert.equal(headline(ITEM), 'To decide: Re: Hello');
  assert.equal(headline({ ...ITEM, decision: '' }), 'Re: Hello');
  const bounce = { ...ITEM, kind: 'bounce', original_kind: 'bounce', decision: '', reason: 'mailbox_unknown' };
  assert.equal(headline(bounce), 'Bounced: mailbox unknown, spring-sale');
  assert.equal(
    headline({ ...bounce, kind: 'unmatched', campaign: null }),
    'Bounced: mailbox unknown, not about a message of yours',
  );
});

test('the inbox shows a reply with its decision and answer, and to a viewer neither', () => {
  const page = { items: [ITEM], next: null, mailboxes: [], shown: ITEM };
  const shown = (role) => html(inbox({ state: { ...app([], { role, path: '/inbox/all/3', page }).state } }));
  assert.match(shown('operator'), /Keep subscribed/);
  assert.match(shown('operator'), /Send the answer/);
  assert.ok(!shown('viewer').includes('Keep subscribed'));
  assert.ok(!shown('operator').includes('<script>'));
});

test('an inbox that nothing fills says how, and a source that cannot be read is named', () => {
  const state = (mailboxes) => ({ state: { ...app([], { path: '/inbox', page: { items: [], mailboxes } }).state } });
  assert.match(text(inbox(state([]))), /Name a mailbox/);
  const broken = { name: 'mailbox bounces', state: 'broken', reason: 'the password was refused', read_at: null };
  assert.match(text(inbox(state([broken]))), /Mailbox bounces cannot be read: the password was refused/);
  assert.match(text(readFrom([{ ...broken, state: 'working', read_at: '2026-12-01T09:00:00Z' }], NOW)), /Last read/);
});

const FIGURES = {
  ...{
    sent: 10,
    delivered: 6,
    undelivered: 1,
    failed: 2,
    bounced: 1,
    complaints: 0,
    replies: 3,
    opt_outs: 1,
    cost: 10,
  },
  ...{ delivery_rate: 0.857, opt_out_rate: 0.1, last_run_at: null, last_run_result: null, completed_at: null },
};

test('a column of a report adds up to what was tried', () => {
  assert.deepEqual(parts(FIGURES), [
    ['delivered', 6],
    ['sent', 3],
    ['failed', 3],
  ]);
});

test('a report says - and never 0 % where nothing can be known', () => {
  const none = { ...FIGURES, delivered: 0, delivery_rate: null };
  const report = {
    campaigns: [{ name: 'spring-sale', ...none }],
    total: none,
    series: [{ at: '2026-12-01T00:00:00Z', ...none }],
    uncounted: 0,
  };
  const shown = text(reports(app([], { path: '/reports', page: { report } })));
  assert.ok(!/(^|[^\d.])0%/.test(shown));
  assert.match(shown, /Delivered\s*-/);
  assert.match(shown, /spring-sale/);
  assert.match(
    text(reports(app([], { path: '/reports', page: { report: { ...report, campaigns: [] } } }))),
    /No campaign sent/,
  );
});

test('a mailbox that cannot be read and replies that wait need a person', () => {
  const mailboxes = [
    { name: 'mailbox bounces', state: 'broken', reason: 'the password was refused' },
    { name: 'provider ses', state: 'working', reason: '' },
  ];
  const found = needs({ ...app().state, status: { mailboxes, replies_waiting: 2 } });
  assert.deepEqual(
    found.map(({ kind, name, count }) => [kind, name, count]),
    [
      ['replies', '', 2],
      ['mailbox', 'mailbox bounces', undefined],
    ],
  );
  const status = { mailboxes, replies_waiting: 2 };
  const shown = text(home({ state: { ...app([view()]).state, status } }));
  assert.match(shown, /2 replies wait for your decision/);
  assert.match(shown, /The mailbox bounces cannot be read/);
});
