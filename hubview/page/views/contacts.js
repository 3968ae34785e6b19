/** Contacts and lists: who there is, on which list, and what is known about them. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { change } from '../actions.js';
import { count, plural, time } from '../format.js';
import { icon } from '../icons.js';
import { empty, failure, field, loading, pageHead, peopleWord } from '../parts.js';
import { address } from '../router.js';
import { save } from '../saving.js';

const PAGE = 200;
const SHOWN_FIELDS = 4;

/** @type {import('../pages.js').Page} */
export const contactsPage = {
  title: ({ list, contact }) => contact ?? list ?? 'Contacts',
  view: contacts,
  async open(app) {
    const { route } = app.state;
    await app.loadLists();
    if (route.params.contact) await loadOne(app, route.params.contact);
    else await load(app, false);
  },
};

/**
 * @param {any} app
 * @param {boolean} further
 */
async function load(app, further) {
  const { page, route } = app.state;
  const asked = { list: route.params.list ?? null, limit: PAGE, after: further ? page.next : 0 };
  try {
    const answer = await app.call('contacts.list', asked);
    app.patch(page, {
      rows: further ? [...page.rows, ...answer.contacts] : answer.contacts,
      next: answer.next,
      missing: false,
    });
  } catch (/** @type {any} */ error) {
    if (error.code === 'disconnected') throw error;
    app.patch(page, { rows: [], missing: error });
  }
}

/**
 * @param {any} app
 * @param {string} key
 */
async function loadOne(app, key) {
  const { page } = app.state;
  try {
    app.patch(page, { contact: (await app.call('contacts.get', { key })).contact, missing: null });
  } catch (/** @type {any} */ error) {
    if (error.code === 'disconnected') throw error;
    app.patch(page, { missing: error, contact: null });
  }
}

/** @param {any} app */
export function contacts(app) {
  const { lists, page, route } = app.state;
  if (!lists) return loading('Asking hubd for the contacts.');
  if (route.params.contact) return one(app);
  const bring = html`<a class="btn btn-primary" href="#/import">${icon('upload')}Import a CSV</a>`;
  if (!lists.length && !page.rows?.length) {
    return empty(
      'There are no contacts yet',
      'Any CSV with an email or a phone column will do. You review its columns before anything is saved.',
      bring,
    );
  }
  return html`${pageHead('Contacts', `${plural(lists.length, 'list')}. A contact on several lists gets one message of a campaign.`, bring)}
    <div class="split">
      <nav class="lists" aria-label="Lists">
        <a href="#/contacts" aria-current=${route.params.list ? nothing : 'page'}>Everybody</a>
        ${lists.map(
          (/** @type {any} */ each) =>
            html`<a
              href=${address('contacts', 'list', each.name)}
              aria-current=${each.name === route.params.list ? 'page' : nothing}
              ><span class="cut" title=${each.name}>${each.name}</span
              ><span class="num t3">${count(each.contacts)}</span></a
            >`,
        )}
      </nav>
      <div>${toolbar(app)} ${failure(page.missing)} ${people(app)}</div>
    </div>`;
}

/** @param {any} app */
function toolbar(app) {
  const { page, route } = app.state;
  const { list } = route.params;
  return html`<div class="toolbar">
    <form
      @submit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        if (page.find?.trim()) app.go(address('contacts', 'one', page.find.trim()));
      }}
    >
      <label class="search broad"
        >${icon('search')}<span class="vh">Find a contact</span
        ><input
          class="input"
          type="search"
          placeholder="Whole address or number"
          .value=${page.find ?? ''}
          @input=${(/** @type {any} */ event) => (page.find = event.target.value)}
        /><kbd aria-hidden="true">/</kbd></label
      >
    </form>
    <span class="grow"></span>
    ${
      page.rows?.length
        ? html`<button
            class="btn btn-s"
            aria-disabled=${app.state.saving ? 'true' : nothing}
            @click=${() => save(app, { kind: 'contacts', list: list ?? '' })}
          >
            ${icon('download')}${app.state.saving ? 'Saving' : 'Save as CSV'}
          </button>`
        : nothing
    }
    ${
      list
        ? html`<button class="btn btn-s" @click=${() => askAdd(app, list)}>Add a contact…</button>
            <button class="btn btn-s" @click=${() => askRename(app, list)}>Rename…</button>
            <button class="btn btn-s" @click=${() => askDeleteList(app, list)}>Delete list…</button>`
        : nothing
    }
  </div>`;
}

/** @param {any} app */
function people(app) {
  const { page } = app.state;
  const { rows, next } = page;
  if (!rows) return loading('Asking hubd for the contacts.');
  if (!rows.length)
    return page.missing ? nothing : empty('Nobody is on this list', 'Import a file into it, or add a contact.');
  const names = fieldNames(rows);
  return html`<div class="scroll">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Email</th>
            <th scope="col">Phone</th>
            ${names.map((name) => html`<th scope="col" class="mono">${name}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            (/** @type {any} */ each) =>
              html`<tr>
                <td class="b">
                  <a class="ink" href=${address('contacts', 'one', each.contact_id)}
                    >${each.email ?? each.contact_id}</a
                  >
                </td>
                <td class="t2 nowrap">${each.phone ?? ''}</td>
                ${names.map((name) => html`<td class="t2 cell">${each.fields[name] ?? ''}</td>`)}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <p class="below">
      ${next ? html`<button class="btn" @click=${() => app.attempt(() => load(app, true))}>Show more</button>` : html`<span class="hint">${count(rows.length)} shown, these are all.</span>`}
    </p>`;
}

/** The fields that most of these contacts have. @param {any[]} rows */
export function fieldNames(rows) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  for (const { fields } of rows) for (const name of Object.keys(fields)) seen.set(name, (seen.get(name) ?? 0) + 1);
  return [...seen.entries()]
    .sort((one, other) => other[1] - one[1])
    .slice(0, SHOWN_FIELDS)
    .map(([name]) => name);
}

/** @param {any} app */
function one(app) {
  const { contact, missing } = app.state.page;
  if (missing)
    return empty(
      'There is no such contact',
      missing.message,
      html`<a class="btn" href="#/contacts">Show everybody</a>`,
    );
  if (!contact) return loading('Asking hubd for this contact.');
  const facts = [
    ['Email', contact.email],
    ['Phone', contact.phone],
    ...Object.entries(contact.fields),
    ['Lists', (contact.lists ?? []).join(', ')],
    ['Contact id', contact.contact_id],
    ['Imported', time(contact.created_at, Date.now())],
  ].filter(([, value]) => value);
  return html`<div class="crumb"><a href="#/contacts">Contacts</a> /</div>
    ${pageHead(contact.email ?? contact.phone ?? contact.contact_id, '', html`<button class="btn" @click=${() => askRemove(app, contact)}>${icon('trash')}Delete…</button>`)}
    <dl class="pairs">
      ${facts.map(
        ([name, value]) =>
          html`<dt>${name}</dt>
            <dd>${value}</dd>`,
      )}
    </dl>`;
}

/**
 * @param {any} app
 * @param {any} contact
 */
async function askRemove(app, contact) {
  const key = contact.contact_id;
  const would = await app.attempt(() => app.call('contacts.remove', { key, dry_run: true }));
  if (!would) return;
  app.ask({
    kind: 'ask',
    danger: true,
    title: `Delete ${contact.email ?? contact.phone}?`,
    words:
      'The contact is taken off every list. What was sent to them before remains in the history of those campaigns.',
    effects: [[count(would.cancelled), 'waiting messages to them will not be sent']],
    button: 'Delete the contact',
    act: async () => {
      await change(app, 'contacts.remove', { key });
      app.state.lists = null;
      app.go('#/contacts');
    },
  });
}

/**
 * @param {any} app
 * @param {string} list
 */
function askAdd(app, list) {
  const own = { email: '', phone: '' };
  const input = (/** @type {'email' | 'phone'} */ name, /** @type {string} */ label) =>
    field({
      id: name,
      label,
      control: html`<input
        class="input"
        id=${name}
        ?autofocus=${name === 'email'}
        .value=${own[name]}
        @input=${(/** @type {any} */ event) => (own[name] = event.target.value)}
      />`,
    });
  app.ask({
    kind: 'ask',
    title: `Add a contact to ${list}`,
    words: 'One of the two is enough.',
    get body() {
      return html`<div class="stack">
        ${input('email', 'Email address')} ${input('phone', 'Phone number, with + and the country')}
      </div>`;
    },
    button: 'Add the contact',
    act: async () => {
      await change(app, 'contacts.add', { list, email: own.email.trim() || null, phone: own.phone.trim() || null });
      app.state.lists = null;
      app.refresh();
    },
  });
}

/**
 * @param {any} app
 * @param {string} list
 */
function askRename(app, list) {
  const own = { name: list };
  app.ask({
    kind: 'ask',
    title: `Rename ${list}`,
    words: 'Drafts that name it keep the old name until you change them.',
    get body() {
      return html`<input
        class="input"
        aria-label="New name"
        autofocus
        .value=${own.name}
        @input=${(/** @type {any} */ event) => (own.name = event.target.value)}
      />`;
    },
    button: 'Rename',
    act: async () => {
      await change(app, 'list.rename', { name: list, new: own.name.trim() });
      app.state.lists = null;
      app.go(address('contacts', 'list', own.name.trim()));
    },
  });
}

/**
 * @param {any} app
 * @param {string} list
 */
async function askDeleteList(app, list) {
  const would = await app.attempt(() => app.call('list.delete', { name: list, dry_run: true }));
  if (!would) return;
  app.ask({
    kind: 'ask',
    danger: true,
    title: `Delete the list ${list}?`,
    words: 'Only the list is deleted: the contacts remain, and so do their other lists.',
    effects: [
      [count(would.contacts), 'contacts are no longer on it'],
      ...(would.campaigns.length
        ? [[count(would.campaigns.length), `campaigns name it: ${would.campaigns.join(', ')}`]]
        : []),
    ],
    button: `Delete the list of ${peopleWord(would.contacts)}`,
    act: async () => {
      await change(app, 'list.delete', { name: list });
      app.state.lists = null;
      app.go('#/contacts');
    },
  });
}
