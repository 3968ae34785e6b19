/** The pages for what comes back and for where figures go, without a browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { html, text } from './render.mjs';

const { HOSTILE, NOW, app, view } = await import('./made.mjs');
const at = (path) => import(`../../hubview/page/${path}`);
const { needs } = await at('store.js');
const { needsYou } = await at('views/needs.js');
const { tableOf } = await at('config.js');
const { funnel, progress } = await at('views/campaign-overview.js');
const { lifeLine } = await at('views/campaign-message.js');
const { lag, sinks, target } = await at('views/sinks.js');
const { booked, sources, sourceWords } = await at('views/sources.js');

const CONFIG = {
  settings: [
    { key: 'mailboxes.bounces.host', value: 'imap.acme.example' },
    { key: 'mailboxes.bounces.folder', value: 'INBOX' },
    { key: 'mailboxes.bounces.username', value: 'bounces@acme.example' },
    { key: 'mailboxes.bounces.extra.host', value: 'another' },
    { key: 'sinks.crm.url', value: 'https://acme.example/hook' },
    { key: 'sinks.crm.events', value: ['campaign.state'] },
    { key: 'listener.address', value: '127.0.0.1:8025' },
    { key: 'listener.public_url', value: 'https://hub.acme.example' },
    { key: 'listener.unsubscribe', value: true },
  ],
};

function source(given = {}) {
  return {
    name: 'mailbox bounces',
    state: 'working',
    reason: '',
    person: false,
    read_at: '2026-12-01T09:00:00Z',
    next_at: null,
    items: {},
    unmatched: 0,
    unreadable: 0,
    ...given,
  };
}

function sink(given = {}) {
  return {
    name: 'crm',
    type: 'webhook',
    content: 'events',
    state: 'ready',
    reason: '',
    failures: 0,
    behind: 0,
    told_at: '2026-12-01T09:00:00Z',
    ...given,
  };
}

function withSources(read, { page = {}, role = 'operator' } = {}) {
  const made = app([], { path: '/providers', page: { config: CONFIG, ...page }, role });
  made.state.status = { mailboxes: read, replies_waiting: 0 };
  made.state.providers = [{ name: 'ses', type: 'ses', state: 'ready', reason: '' }];
  return made;
}

function withSinks(known, { role = 'operator' } = {}) {
  const made = app([], { path: '/sinks', page: { config: CONFIG }, role });
  made.state.sinks = known;
  return made;
}

test('a table of the configuration is told from one whose name begins alike', () => {
  assert.equal(tableOf(CONFIG, 'mailboxes', 'bounces').host, 'imap.acme.example');
  assert.deepEqual(tableOf(CONFIG, 'mailboxes', 'bounce'), {});
  assert.deepEqual(tableOf(null, 'listener'), {});
});

test('a source says where it reads, when it did last, what came, and whether it works', () => {
  const shown = text(sources(withSources([source({ items: { bounce: 2, reply: 1, receipt: 0 }, unmatched: 1 })]), NOW));
  assert.match(shown, /bounces mailbox: INBOX of bounces@acme.example at imap.acme.example Works/);
  assert.match(shown, /2 bounces, 1 reply, 1 of them not about a message of yours/);
  assert.match(shown, /Test/);
  assert.equal(booked(source()), 'nothing came');
  assert.deepEqual(sourceWords('provider ses', CONFIG, [{ name: 'ses', type: 'ses' }]), [
    'ses',
    'provider: its queue of events (SQS)',
  ]);
});

test('a source that cannot be read says why, a viewer has no button, and - stands for never', () => {
  const broken = source({ state: 'broken', reason: 'the login was refused', read_at: null, next_at: null });
  const shown = sources(withSources([broken], { role: 'viewer' }), NOW);
  assert.match(text(shown), /Cannot be read the login was refused/);
  assert.match(text(shown), /- it has never been read successfully/);
  assert.doesNotMatch(html(shown), /<button/);
});

test('a listener that does not listen says why and what to do', () => {
  const taken = source({ name: 'listener', state: 'broken', reason: '127.0.0.1 port 8025: address already in use' });
  const shown = text(sources(withSources([taken]), NOW));
  assert.match(
    shown,
    /Listener .* Cannot accept connections 127.0.0.1 port 8025: address already in use Stop the program that uses/,
  );
  assert.match(shown, /not working, at 127.0.0.1:8025/);
  assert.doesNotMatch(shown, /Cannot be read/);
});

test('the listener is on with its address and its webhooks, or off with what that means', () => {
  const on = withSources([source({ name: 'listener', state: 'starting', read_at: null })], {
    page: { webhooks: { text: 'https://hub.acme.example/w/text/abc' } },
  });
  assert.match(
    text(sources(on, NOW)),
    /on, at 127.0.0.1:8025, reached as https:\/\/hub.acme.example .* on, for campaigns .* Webhook of text https:\/\/hub/,
  );
  const off = withSources([], { page: { config: { settings: [] } } });
  assert.match(text(sources(off, NOW)), /Nothing is read, so nobody knows .* The listener is off/);
});

test('a mailbox that is not read and a sink that is paused need a person, and a click leads there', () => {
  const made = withSources([source({ state: 'broken', reason: 'wrong password' }), source({ state: 'retrying' })]);
  made.state.sinks = [sink({ state: 'paused', reason: 'unknown field' }), sink({ state: 'failing' }), sink()];
  const waiting = needs(made.state);
  assert.deepEqual(
    waiting.map((each) => each.kind),
    ['mailbox', 'sink'],
  );
  const shown = needsYou(made, waiting);
  assert.match(text(shown), /The mailbox bounces has not been read since .* Wrong password/);
  assert.match(text(shown), /The sink crm is paused Unknown field/);
  assert.match(html(shown), /href="#\/providers".*href="#\/sinks"/s);
  assert.match(text(needsYou(made, [{ kind: 'mailbox', name: 'provider ses', reason: '' }])), /ses cannot be read/);
});

test('a sink says what it is told, where, and how far it is behind; only a paused one is resumed', () => {
  const shown = sinks(withSinks([sink({ state: 'paused', behind: 1200, reason: 'gone (410)' })]));
  assert.match(
    text(shown),
    /crm webhook What happens, as events https:\/\/acme.example\/hook, only campaign.state Paused gone \(410\).* 1,200 events behind Test Resume/,
  );
  assert.doesNotMatch(text(sinks(withSinks([sink()]))), /Resume/);
  assert.doesNotMatch(html(sinks(withSinks([sink({ state: 'paused' })], { role: 'viewer' }))), /<button/);
  assert.match(text(sinks(withSinks([]))), /Nothing is copied elsewhere/);
  assert.equal(lag(sink({ behind: 1, state: 'failing' })), '1 event behind');
  assert.equal(lag(sink({ content: 'kpis', behind: 40 }), '60s'), 'every 60s');
  assert.equal(target('airtable', { base: 'app1', table: 'Campaigns' }), 'table Campaigns of base app1');
  assert.equal(target('csv', {}), '');
});

test('what came back stands with its rates, and - where nothing is read that could say', () => {
  const back = { bounced: 3, complaints: 1, replies: 0, opt_outs: 2, opt_out_rate: 0.02 };
  const shown = text(funnel(view({ ...back, counts: { sent: 97, undelivered: 3 } })));
  assert.match(shown, /Delivered - no receipts have come/);
  assert.match(
    shown,
    /of 100 accepted Undelivered 3 3.0% Bounces 3 3.0% Complaints 1 1.0% Replies 0 0% Opt-outs 2 2.0%/,
  );
  const blind = text(funnel(view({ counts: { sent: 100 } })));
  assert.match(blind, /Bounces - nothing is read that could say .*No replies or bounces are read/);
  assert.doesNotMatch(blind, /0%.*0%.*Opt-outs 0/);
  assert.doesNotMatch(text(funnel(view({ counts: { pending: 5 } }))), /What came back/);
  const receipts = view({ counts: { delivered: 9, sent: 1 }, delivery_rate: 0.9 });
  assert.match(text(funnel(receipts)), /Delivered 9 90.0% .* Undelivered 0 0%/);
  assert.match(text(progress(receipts, NOW)), /Delivered 9 90.0%/);
  // Bounces alone are no receipts: those that did not bounce need not have arrived.
  assert.match(text(progress(view({ counts: { undelivered: 3, sent: 97 } }), NOW)), /Delivered - .*Undelivered 3/);
});

test('the life line tells what came back, from where, in the words of the report', () => {
  const item = { id: 7, at: '2026-12-01T09:00:00Z', from: 'ann@example.com', reason: '', code: 0, text: '' };
  const life = {
    delivery: { campaign: 'spring-sale', state: 'undelivered', reason: 'mailbox_unknown' },
    attempts: [],
    came_back: [
      {
        ...item,
        original_kind: 'bounce',
        mailbox: 'mailbox bounces',
        reason: 'mailbox_unknown',
        code: 550,
        provider_reply: '550 5.1.1 no such user',
      },
      { ...item, original_kind: 'complaint', mailbox: 'provider ses', provider_reply: '' },
      { ...item, original_kind: 'opt_out', mailbox: 'listener', provider_reply: '' },
    ],
  };
  const shown = lifeLine(life, '', [{ name: 'ses', type: 'ses' }]);
  assert.match(
    text(shown),
    /Bounced: mailbox unknown 550 ann@example.com, read from the mailbox bounces. Inbox 550 5.1.1 no such user/,
  );
  assert.match(text(shown), /Reported as spam ann@example.com, read from ses, its queue of events \(SQS\)/);
  assert.match(text(shown), /Opted out ann@example.com, told to the listener\. .*Not delivered: mailbox unknown/);
  assert.match(html(shown), /href="#\/inbox\/all\/7"/);
});

test('nothing that a source, a sink or its server says becomes markup', () => {
  const spots = [
    sources(
      withSources([source({ name: `mailbox ${HOSTILE}`, state: 'broken', reason: HOSTILE })], {
        page: { webhooks: { [HOSTILE]: HOSTILE }, probes: { [`mailbox ${HOSTILE}`]: { ok: false, text: HOSTILE } } },
      }),
      NOW,
    ),
    sinks(withSinks([sink({ name: HOSTILE, reason: HOSTILE, state: 'failing', failures: 3 })])),
    lifeLine({
      delivery: { campaign: 'x', state: 'sent', reason: '' },
      attempts: [],
      came_back: [
        { id: 1, original_kind: HOSTILE, from: HOSTILE, mailbox: HOSTILE, reason: HOSTILE, provider_reply: HOSTILE },
      ],
    }),
    needsYou(app(), [
      { kind: 'mailbox', name: HOSTILE, reason: HOSTILE },
      { kind: 'sink', name: HOSTILE, reason: HOSTILE },
    ]),
  ];
  for (const spot of spots) assert.doesNotMatch(html(spot), /<script>/);
});
