/** What the page knows, and how it changes. Pure: events in, the next state out; nothing is fetched here. */

import { count } from './format.js';

/**
 * @typedef {import('./client.js').HubEvent} HubEvent
 * @typedef {Record<string, any>} Campaign a campaign as campaign.get shows it
 *
 * @typedef {object} State
 * @property {{state: 'connecting' | 'live' | 'lost', error?: any, retryAt?: number, lastLive?: number, starting?: boolean}} link
 * @property {any} hello what the daemon said about itself
 * @property {string} where which daemon, and why this one
 * @property {Map<string, Campaign>} campaigns
 * @property {Set<string>} archived
 * @property {Map<string, any[]>} occurrences the last times of campaigns that repeat, newest first
 * @property {Map<string, Samples>} samples the rates of running campaigns
 * @property {any} status what hub.status said last
 * @property {boolean} archivedKnown whether it is known which campaigns are archived
 * @property {Map<string, string>} busy campaigns that are just being paused or resumed
 * @property {any[]} providers
 * @property {any[] | null} sinks
 * @property {any[] | null} lists
 * @property {string} trouble why the daemon sends nothing at all
 * @property {number} unread notifications
 * @property {boolean} notifies whether hubview shows notifications of the desktop
 * @property {boolean} loaded whether the campaigns are known
 * @property {Record<string, string>} choices what was chosen before, such as the colours
 * @property {{name: string, params: Record<string, string>, path: string}} route
 * @property {any} page what only the open page knows
 * @property {string[]} [newLists] who gets the campaign that is begun next
 * @property {string} [wantedState] which recipients the list shows next
 * @property {string} saving what is being saved as a file
 * @property {any} dialog the open dialog
 * @property {any} toast the message at the bottom
 *
 * @typedef {{at: number, rate: number | null}[]} Samples
 */

export const SAMPLE_SECONDS = 2; // between two samples of a rate
export const KEPT_SAMPLES = 300; // ten minutes
const GAP_SECONDS = 10; // after this long without a figure, the rate is unknown

/** Events after which the figures of a campaign are asked for, because they carry only a part of them. */
const TOUCHES = /^(campaign\.(?!progress|deleted|archived)|delivery\.|list\.|contacts?\.)/;

/** @returns {State} */
export function initial() {
  return {
    link: { state: 'connecting' },
    hello: null,
    where: '',
    campaigns: new Map(),
    archived: new Set(),
    occurrences: new Map(),
    samples: new Map(),
    status: null,
    archivedKnown: false,
    busy: new Map(),
    providers: [],
    sinks: null,
    lists: null,
    trouble: '',
    unread: 0,
    notifies: false,
    loaded: false,
    choices: {},
    route: { name: 'home', params: {}, path: '/' },
    page: {},
    saving: '',
    dialog: null,
    toast: null,
  };
}

/** Whether this connection may change something. @param {State} state */
export function mayChange(state) {
  return state.hello?.role === 'operator';
}

/** Whether the daemon answers now. @param {State} state */
export function isLive(state) {
  return state.link.state === 'live';
}

/**
 * All campaigns as they are now, in place of what was known.
 * @param {State} state
 * @param {Campaign[]} views
 * @param {string[]} [archived]
 */
export function takeAll(state, views, archived) {
  state.campaigns = new Map(views.map((view) => [view.name, view]));
  if (archived) state.archived = new Set(archived);
  for (const name of state.samples.keys()) {
    if (!state.campaigns.has(name)) state.samples.delete(name);
  }
  state.loaded = true;
}

/**
 * One campaign as it is now.
 * @param {State} state
 * @param {Campaign} view
 * @param {number} now milliseconds
 */
export function takeOne(state, view, now) {
  state.campaigns.set(view.name, view);
  if (view.state === 'running') sample(state, view, now);
}

/**
 * Take an event: change the state, and return the campaigns that have to be asked for.
 * @param {State} state
 * @param {HubEvent} event
 * @param {number} now milliseconds
 * @returns {string[]} names of campaigns
 */
export function takeEvent(state, event, now) {
  const { type, campaign: name, data } = event;
  if (type === 'campaign.progress') {
    takeOne(state, data.campaign, now);
    return [];
  }
  if (type === 'campaign.deleted') {
    state.campaigns.delete(name);
    state.samples.delete(name);
    return [];
  }
  if (type === 'campaign.archived') {
    if (data.archived) state.archived.add(name);
    else state.archived.delete(name);
    return state.campaigns.has(name) ? [] : [name];
  }
  const known = state.campaigns.get(name);
  if (type === 'campaign.state' && known) {
    state.campaigns.set(name, { ...known, state: data.to, reason: data.reason ?? '' });
  }
  if (!name || !TOUCHES.test(type)) return [];
  // While it runs, live figures follow by themselves, several a second.
  return known?.state === 'running' && type.startsWith('delivery.') ? [] : [name];
}

/**
 * Remember the rate of a running campaign, one figure every SAMPLE_SECONDS.
 * @param {State} state
 * @param {Campaign} view
 * @param {number} now
 */
function sample(state, view, now) {
  const samples = state.samples.get(view.name) ?? [];
  const last = samples[samples.length - 1];
  const seconds = last ? (now - last.at) / 1000 : Infinity;
  if (seconds < SAMPLE_SECONDS) return;
  if (last && seconds > GAP_SECONDS) samples.push({ at: last.at + 1000 * SAMPLE_SECONDS, rate: null });
  samples.push({ at: now, rate: view.rate });
  if (samples.length > KEPT_SAMPLES) samples.splice(0, samples.length - KEPT_SAMPLES);
  state.samples.set(view.name, samples);
}

/**
 * The campaigns that are shown on the board, running ones first, then the newest.
 * @param {State} state
 */
export function board(state) {
  return [...state.campaigns.values()]
    .filter((view) => !state.archived.has(view.name))
    .sort((one, other) => rank(one) - rank(other) || when(other).localeCompare(when(one)));
}

const RANKS = ['running', 'paused', 'scheduled', 'draft', 'failed', 'stopped', 'completed'];

/** @param {Campaign} view */
function rank(view) {
  return RANKS.indexOf(view.state);
}

/** @param {Campaign} view */
function when(view) {
  return view.completed_at ?? view.started_at ?? view.created_at ?? '';
}

/**
 * What waits for a person, most urgent first.
 * @param {State} state
 * @returns {{kind: string, name: string, count?: number, reason?: string, at?: string}[]}
 */
export function needs(state) {
  const found = [];
  if (state.trouble) found.push({ kind: 'trouble', name: '', reason: state.trouble });
  for (const view of board(state)) {
    if (view.counts.in_doubt && !resent(view)) {
      found.push({ kind: 'in_doubt', name: view.name, count: view.counts.in_doubt });
    }
    if (view.state === 'paused' && view.reason)
      found.push({ kind: 'paused', name: view.name, reason: pauseWords(view) });
    if (view.state === 'failed') found.push({ kind: 'failed', name: view.name, reason: view.reason });
  }
  const { mailboxes = [], replies_waiting: replies = 0 } = state.status ?? {};
  if (replies) found.push({ kind: 'replies', name: '', count: replies });
  for (const { name, state: how, reason, read_at: at } of mailboxes) {
    if (how === 'broken') found.push({ kind: 'mailbox', name, reason, at });
  }
  for (const provider of state.providers) {
    if (provider.state === 'stopped') found.push({ kind: 'provider', name: provider.name, reason: provider.reason });
  }
  for (const { name, state: how, reason } of state.sinks ?? []) {
    if (how === 'paused') found.push({ kind: 'sink', name, reason });
  }
  return found;
}

/** Why a campaign is paused, in words; "" when a person simply paused it. @param {Campaign} view */
export function pauseWords(view) {
  if (view.reason !== 'limit') return view.reason;
  return `the first ${count(view.counts.total - view.counts.pending - view.counts.deferred)} were sent`;
}

/** Whether the daemon decides about what is in doubt without a person, while it runs. @param {Campaign} view */
function resent(view) {
  return view.in_doubt === 'retry' && view.state === 'running';
}
