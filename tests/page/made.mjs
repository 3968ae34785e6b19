/** What the tests of the views are given: campaigns and the state of a page, made up. */

import { initial, takeAll } from '../../hubview/page/store.js';
import { route } from '../../hubview/page/router.js';

export const NOW = Date.parse('2026-12-01T10:00:00Z');
export const STATES = [
  'pending',
  'deferred',
  'sending',
  'sent',
  'delivered',
  'undelivered',
  'failed',
  'skipped',
  'in_doubt',
];
export const HOSTILE = '<script>alert(1)</script>"\'`${x}&amp;';

export function counts(given = {}) {
  const all = Object.fromEntries(STATES.map((name) => [name, given[name] ?? 0]));
  return { ...all, total: STATES.reduce((sum, name) => sum + all[name], 0) };
}

export function view(given = {}) {
  const { counts: numbers, ...rest } = given;
  return {
    name: 'spring-sale',
    state: 'running',
    reason: '',
    channel: 'email',
    provider: 'relay',
    kind: 'marketing',
    lists: ['customers'],
    counts: counts(numbers),
    rate: 0,
    eta: null,
    rates: [],
    limit: null,
    scheduled_at: null,
    started_at: '2026-12-01T09:00:00Z',
    completed_at: null,
    created_at: '2026-12-01T08:00:00Z',
    last_error: '',
    in_doubt: 'retry',
    refused: 0,
    freezing: false,
    repeats: null,
    next_at: null,
    series: '',
    trigger: '',
    bounced: 0,
    complaints: 0,
    replies: 0,
    opt_outs: 0,
    delivery_rate: null,
    opt_out_rate: null,
    ...rest,
  };
}

export function app(views = [], { role = 'operator', link = { state: 'live' }, path = '/', page = {} } = {}) {
  const state = { ...initial(), hello: { role }, link, route: route(path), page };
  takeAll(state, views, []);
  return { state };
}
