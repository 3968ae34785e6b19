/** Every page by its name: its title, what it fetches when it opens, and its view. */

import { html } from './vendor/lit-html/lit-html.js';
import { empty } from './parts.js';
import { campaignPage } from './views/campaign.js';
import { contactsPage } from './views/contacts.js';
import { creditsPage } from './views/credits.js';
import { homePage } from './views/home.js';
import { importPage } from './views/import.js';
import { inboxPage } from './views/inbox.js';
import { newPage } from './views/new.js';
import { notificationsPage } from './views/notifications.js';
import { providersPage } from './views/providers.js';
import { reportsPage } from './views/reports.js';
import { settingsPage } from './views/settings.js';
import { sinksPage } from './views/sinks.js';
import { suppressionsPage } from './views/suppressions.js';

/**
 * @typedef {object} Page
 * @property {(params: Record<string, string>) => string} title
 * @property {(app: any) => unknown} view pure: from the state to a template
 * @property {(app: any) => unknown} [open] fetches what it needs; also after a reconnection
 * @property {(app: any, event: any) => void} [event] something happened in the daemon
 * @property {(before: any, next: any) => boolean} [keeps] whether what it knows stays true at the next address
 * @property {(app: any) => void} [drawn] after each drawing
 */

/** @type {Record<string, Page>} */
export const PAGES = {
  home: homePage,
  campaign: campaignPage,
  new: newPage,
  contacts: contactsPage,
  import: importPage,
  providers: providersPage,
  sinks: sinksPage,
  suppressions: suppressionsPage,
  inbox: inboxPage,
  reports: reportsPage,
  notifications: notificationsPage,
  credits: creditsPage,
  settings: settingsPage,
  missing: {
    title: () => 'Not found',
    view: () =>
      empty(
        'There is no such page',
        'Its address may be mistyped.',
        html`<a class="btn" href="#/">Show the campaigns</a>`,
      ),
  },
};
