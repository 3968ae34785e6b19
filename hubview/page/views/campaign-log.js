/** The log of a campaign: what happened to it, newest first. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { count, plural, sentence, time, words } from '../format.js';
import { icon } from '../icons.js';
import { empty, loading } from '../parts.js';

const PAGE = 1000;
const KEPT = 5000; // events held at once, the newest ones
const RECENT = 20_000; // at first, only this campaign's events among this many newest ones of the daemon

/**
 * Read what is new; at first the newest of the daemon's events, or all when this campaign has none among those.
 * @param {any} app
 * @param {string} name
 */
export async function openLog(app, name) {
  const { page } = app.state;
  if (page.logAfter === undefined) page.logFrom = Math.max(0, (app.client.cursor?.seq ?? 0) - RECENT);
  await readLog(app, name, page.logAfter ?? page.logFrom);
  if (page === app.state.page && !page.events.length && page.logFrom) await showOlder(app, name);
}

/**
 * @param {any} app
 * @param {string} name
 */
async function showOlder(app, name) {
  const { page } = app.state;
  Object.assign(page, { events: [], logFrom: 0 });
  await readLog(app, name, 0);
}

/**
 * @param {any} app
 * @param {string} name
 * @param {number} after
 */
async function readLog(app, name, after) {
  const { page } = app.state;
  const events = page.events ?? [];
  for (;;) {
    const answer = await app.call('events.list', { campaign: name, after, limit: PAGE });
    events.push(...answer.events);
    events.splice(0, Math.max(0, events.length - KEPT));
    if (answer.events.length) after = answer.events[answer.events.length - 1].seq;
    if (page !== app.state.page) return;
    if (answer.next === null || !answer.events.length) break;
  }
  app.patch(page, { events, logAfter: after, stale: false });
}

/**
 * @param {any} app
 * @param {any} view
 */
export function log(app, view) {
  const { events, stale } = app.state.page;
  if (!events) return loading('Asking hubd for the log.');
  if (!events.length) return empty('The log is empty', 'Its events are older than those that hubd keeps.');
  const now = Date.now();
  return html`<section class="sec" aria-label="Log">
    ${stale ? html`<button class="btn btn-s news" @click=${() => app.refresh()}>${icon('retry')}There is news: refresh</button>` : nothing}
    <table class="table">
      <thead>
        <tr>
          <th class="w-time" scope="col">Time</th>
          <th class="w-event" scope="col">Event</th>
          <th scope="col">What happened</th>
        </tr>
      </thead>
      <tbody>
        ${folded(events).map(
          ({ event, more }) =>
            html`<tr>
              <td class="t2 nowrap">${time(event.ts, now, { seconds: true })}</td>
              <td class="t2">${event.type}</td>
              <td>${told(event)}${more ? html` <span class="t3">and ${count(more)} more like it</span>` : nothing}</td>
            </tr>`,
        )}
      </tbody>
    </table>
    ${
      app.state.page.logFrom
        ? html`<p class="below">
            <button class="btn btn-s" @click=${() => app.attempt(() => showOlder(app, view.name))}>
              Show the older ones
            </button>
          </p>`
        : nothing
    }
  </section>`;
}

/**
 * The newest first; a run of failures with the same reason is one line.
 * @param {any[]} events
 * @returns {{event: any, more: number}[]}
 */
export function folded(events) {
  /** @type {{event: any, more: number}[]} */
  const lines = [];
  for (const event of [...events].reverse()) {
    const last = lines[lines.length - 1];
    const same =
      last &&
      last.event.type === event.type &&
      event.type.startsWith('delivery.') &&
      last.event.data.reason === event.data.reason;
    if (same) last.more += 1;
    else lines.push({ event, more: 0 });
  }
  return lines;
}

/** @param {any} event in words */
export function told(event) {
  const { type, data } = event;
  switch (type) {
    case 'campaign.state':
      return `${sentence(words(data.from))} to ${words(data.to)}${data.reason ? `: ${data.reason}` : ''}`;
    case 'campaign.applied':
      if (data.created) return 'Created';
      return data.changed?.length ? `Changed: ${data.changed.join(', ')}` : 'Applied without a change';
    case 'campaign.rate':
      return data.rate?.length ? `Limited to ${data.rate.join(', ')}` : 'Its own limit was removed';
    case 'campaign.archived':
      return data.archived ? 'Archived' : 'Taken out of the archive';
    case 'campaign.changed':
      return data.reason || 'Its plan changed';
    case 'delivery.failed':
      return `Message ${data.delivery_id} failed: ${words(data.reason)}${data.code ? ` (${data.code})` : ''}`;
    case 'delivery.in_doubt':
      return `Message ${data.delivery_id} is in doubt: ${words(data.reason)}`;
    case 'delivery.resolved':
      return `Message ${data.delivery_id} is no longer in doubt: ${words(data.how)}`;
    case 'delivery.requeued':
      return `${plural(data.count, 'failure')} will be tried again`;
    case 'delivery.cancelled':
      return `${plural(data.count, 'message')} will not be sent: ${words(data.reason)}`;
    case 'delivery.bounced':
      return `Message ${data.delivery_id} came back: ${words(data.reason)}`;
    case 'delivery.complained':
      return `The recipient of message ${data.delivery_id} reported it as spam`;
    case 'reply.received':
      return data.held ? 'Somebody replied, and waits for a decision' : 'Somebody replied';
    case 'reply.opted_out':
      return 'Somebody wants no more messages';
    case 'reply.opted_in':
      return 'Somebody withdrew an opt-out';
    default:
      return sentence(words(type.split('.')[1]));
  }
}
