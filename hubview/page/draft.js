/** The draft of a campaign while it is written: what it says, and saving it. */

import { change } from './actions.js';
import { HubError } from './client.js';
import { address } from './router.js';

const PART = 512 * 1024; // bytes of an attachment in one call
export const MAX_ATTACHMENTS = 25 * 1024 * 1024; // bytes of all of them, as much as most servers take
const EMAIL_ONLY = [
  'subject',
  'html',
  'reply_to',
  'unsubscribe',
  'postal_address',
  'footer',
  'language',
  'attachments',
];
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** @returns {Record<string, any>} a campaign about which nothing is known yet */
export function blank() {
  return {
    name: '',
    channel: 'email',
    provider: 'outbox',
    lists: [],
    where: '',
    kind: 'marketing',
    sender: '',
    template: '',
    subject: '',
    text: '',
    html: '',
    unsubscribe: '',
    postal_address: '',
    attachments: [],
  };
}

/**
 * Its providers, the preferred one first.
 * @param {Record<string, any>} draft a draft, or a campaign file
 * @returns {string[]}
 */
export function providersOf({ provider = 'outbox' }) {
  return Array.isArray(provider) ? provider : [provider];
}

/**
 * The same as a campaign file says it: one name, or a list.
 * @param {string[]} names
 */
export function providerKey(names) {
  return names.length === 1 ? names[0] : names;
}

/** @param {string[]} names the providers of a campaign, as people read them */
export function chainWords(names) {
  return names.join(', then ');
}

/**
 * The campaign file that this draft is: only what is set, and only what its channel has.
 * @param {Record<string, any>} draft
 */
export function toSpec(draft) {
  const entries = Object.entries(draft)
    .map(([key, value]) => [key, pruned(value)])
    .filter(
      ([key, value]) =>
        value !== undefined && (draft.channel === 'email' || !EMAIL_ONLY.includes(/** @type {string} */ (key))),
    );
  return Object.fromEntries(entries);
}

/** Without what is empty; undefined when nothing is left. @param {any} value @returns {any} */
function pruned(value) {
  if (value === null || value === '' || (Array.isArray(value) && !value.length)) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) return value;
  const entries = Object.entries(value)
    .map(([key, inside]) => [key, pruned(inside)])
    .filter(([, inside]) => inside !== undefined);
  return entries.length ? Object.fromEntries(entries) : undefined;
}

/**
 * What has to be filled in before it can be saved, by field.
 * @param {Record<string, any>} draft
 * @returns {Record<string, string>}
 */
export function missing(draft) {
  /** @type {Record<string, string>} */
  const found = {};
  if (!draft.name) found.name = 'give it a name';
  else if (!NAME.test(draft.name))
    found.name = 'use up to 64 characters from a-z, 0-9 and . _ -, beginning with a letter or a digit';
  if (draft.channel === 'email') {
    if (!draft.sender.trim()) found.sender = 'an email needs a sender';
    if (!draft.subject.trim() && !draft.template) found.subject = 'an email needs a subject';
  }
  if (!draft.template && !draft.text.trim() && !(draft.channel === 'email' && draft.html.trim()))
    found.text = 'write the message';
  return found;
}

/**
 * Save the draft. What hubd finds wrong is kept by field in `page.faults`.
 * @param {any} app
 * @returns {Promise<boolean>} whether it is saved
 */
export function save(app) {
  const { page } = app.state;
  // One at a time: each is based on the revision that the one before it left.
  page.saving = (page.saving ?? Promise.resolve()).then(() => saveNow(app, page));
  return page.saving;
}

/**
 * @param {any} app
 * @param {any} page whose draft it is
 * @returns {Promise<boolean>}
 */
async function saveNow(app, page) {
  const { draft } = page;
  const gaps = missing(draft);
  if (page.revision === undefined && app.state.campaigns.has(draft.name)) {
    gaps.name = 'another campaign already has this name';
  }
  if (Object.keys(gaps).length) {
    app.patch(page, { faults: gaps });
    return false;
  }
  const text = JSON.stringify(toSpec(draft));
  if (page.savedText === text) return true;
  try {
    const params = page.revision === undefined ? {} : { if_revision: page.revision };
    const { campaign, warnings } = await change(app, 'campaign.apply', { spec: JSON.parse(text), ...params });
    app.state.campaigns.set(campaign.name, campaign);
    app.patch(page, {
      savedText: text,
      savedAt: Date.now(),
      revision: campaign.revision,
      faults: {},
      warnings,
      problem: null,
    });
    if (page === app.state.page) app.moved(address('new', campaign.name)); // a reload finds the draft
    return true;
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    const listed = error.data?.errors ?? [];
    const faults = Object.fromEntries(
      listed.map((/** @type {any} */ each) => [each.path.replace(/^spec\./, ''), each.problem]),
    );
    app.patch(page, { faults, problem: { message: error.message, hint: error.hint } });
    return false;
  }
}

/**
 * Hand the bytes of a file to hubd, and name it in the draft.
 * @param {any} app
 * @param {File} file
 */
export async function attach(app, file) {
  const { draft } = app.state.page;
  const together =
    draft.attachments.reduce((/** @type {number} */ sum, /** @type {any} */ each) => sum + each.size, 0) + file.size;
  if (!file.size) throw new HubError({ message: `${file.name} is empty` });
  if (together > MAX_ATTACHMENTS)
    throw new HubError({ message: `With ${file.name} the attachments are larger than 25 MiB together` });
  const bytes = new Uint8Array(await file.arrayBuffer());
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  for (let offset = 0; offset < bytes.length; offset += PART) {
    const part = bytes.subarray(offset, offset + PART);
    const { complete } = await app.call('campaign.attach', { sha256, offset, data: base64(part), size: bytes.length });
    if (complete) break;
  }
  const entry = { name: file.name, type: file.type || 'application/octet-stream', sha256, size: bytes.length };
  draft.attachments = [...draft.attachments.filter((/** @type {any} */ each) => each.name !== file.name), entry];
}

/** @param {Uint8Array} bytes */
function base64(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
