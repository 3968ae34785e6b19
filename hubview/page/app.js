/** The program of the page: connects, keeps the state, draws it at most four times a second, hears the keys. */

import { html, render } from './vendor/lit-html/lit-html.js';
import { HubClient, HubError } from './client.js';
import { tellDesktop } from './desktop.js';
import { dialogOf } from './dialogs.js';
import { Program } from './program.js';
import { handedOver, route } from './router.js';
import { shell, toastOf } from './shell.js';
import { initial, isLive, takeAll, takeEvent, takeOne } from './store.js';
import { PAGES } from './pages.js';
import { onKey } from './keys.js';

const FRAME = 260; // milliseconds between two drawings because of live figures: at most four a second
const ASK_AGAIN = 300; // milliseconds in which campaigns that changed are collected before they are asked for
const CLOCK = 15; // seconds between two drawings for "since" and "ends at"
const TOAST = 8000;

export class App {
  constructor() {
    this.state = initial();
    this.program = new Program(sessionKey());
    /** @type {Set<string>} */
    this.touched = new Set();
    this.drawnAt = 0;
    this.ticks = 0; // seconds since the page was opened
    /** @type {any} */
    this.drawing = null;
    this.client = new HubClient({
      ticket: () => this.#ticket(),
      topics: ['campaigns', 'daemon'],
      client: { name: 'hubview', version: '' },
      gaugeHz: 2, // enough to look alive, and half the work of what may be drawn
      onConnected: (hello) => this.#connected(hello),
      onSnapshot: (snapshot) => this.#snapshot(snapshot),
      onEvent: (event) => this.#event(event),
      onStatus: (status) => this.#status(status),
    });
  }

  /** Begin: the page that the address names, the connection, the keys. */
  start() {
    window.addEventListener('hashchange', () => this.open());
    document.addEventListener('keydown', (event) => onKey(this, event));
    document.addEventListener('click', closeMenus);
    setInterval(() => {
      this.ticks += 1;
      if (this.state.link.state === 'lost' || this.ticks % CLOCK === 0) this.draw();
    }, 1000);
    this.open();
    this.client.start();
  }

  // -- pages ----------------------------------------------------------------------------------------------

  /** Open the page that the address names. */
  open() {
    const next = route(location.hash.slice(1) || '/');
    const same =
      next.name === this.state.route.name && this.state.page.opened && PAGES[next.name].keeps?.(this.state.route, next);
    this.state.route = next;
    if (!same) this.state.page = { opened: true };
    this.state.dialog = null;
    this.draw(true);
    document.title = `${PAGES[next.name].title(next.params)} · MessageHub`;
    if (!same) {
      scrollTo(0, 0);
      document.getElementById('main')?.focus({ preventScroll: true });
    }
    this.refresh();
  }

  /** Fetch what the open page needs. */
  refresh() {
    if (isLive(this.state)) this.attempt(async () => PAGES[this.state.route.name].open?.(this));
  }

  /** @param {string} hash such as "#/contacts" */
  go(hash) {
    if (location.hash === hash) this.open();
    else location.hash = hash;
  }

  /** The open page has another address now. @param {string} hash */
  moved(hash) {
    if (location.hash === hash) return;
    history.replaceState(null, '', hash);
    this.state.route = route(hash.slice(1));
    document.title = `${PAGES[this.state.route.name].title(this.state.route.params)} · MessageHub`;
  }

  /**
   * Change what the open page knows; nothing happens if it is no longer open.
   * @param {any} page what was `app.state.page` before something was awaited
   * @param {object} values
   */
  patch(page, values) {
    if (page !== this.state.page) return;
    Object.assign(page, values);
    this.draw(true);
  }

  // -- the daemon -----------------------------------------------------------------------------------------

  /**
   * @param {string} method
   * @param {object} [params]
   */
  call(method, params) {
    return this.client.call(method, params);
  }

  /**
   * Do something that may fail, and say so at the bottom when it does.
   * @param {() => Promise<unknown>} work
   */
  async attempt(work) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      if (error.code !== 'disconnected' || isLive(this.state)) this.toast(error.message, 'bad', error.hint);
      return undefined;
    }
  }

  async #ticket() {
    const ticket = await this.program.ask('/ticket');
    this.state.where = ticket.where ?? '';
    this.state.notifies = ticket.notifies === true;
    if (!this.state.choices.taken) this.choose({ ...ticket.choices, taken: 'yes' }, false);
    return ticket;
  }

  /** @param {any} hello */
  async #connected(hello) {
    this.state.hello = hello;
    if (!this.client.cursor) return;
    const all = await this.call('campaign.list', { all: true, archived: true });
    takeAll(this.state, all.campaigns, all.archived);
  }

  /** @param {{campaigns: any[]}} snapshot */
  #snapshot(snapshot) {
    takeAll(this.state, snapshot.campaigns);
  }

  /** @param {import('./client.js').HubEvent} event */
  #event(event) {
    const was = this.state.campaigns.get(event.campaign)?.state;
    for (const name of takeEvent(this.state, event, Date.now())) this.touch(name);
    if (event.type === 'campaign.state' && was !== event.data.to) announce(`${event.campaign} is ${event.data.to}`);
    if (/^(provider|config|hub|mailbox|reply)\./.test(event.type)) this.loadHub();
    if (/^(sink|config)\./.test(event.type)) this.loadSinks();
    if (event.type === 'notification.added') this.loadUnread();
    tellDesktop(this, event);
    if (/^(list|contacts?)\./.test(event.type)) this.state.lists = null;
    PAGES[this.state.route.name].event?.(this, event);
    this.draw();
  }

  /** Ask for a campaign soon: one request for several changes. @param {string} name */
  touch(name) {
    if (!this.touched.size) setTimeout(() => this.#askTouched(), ASK_AGAIN);
    this.touched.add(name);
  }

  async #askTouched() {
    const names = [...this.touched];
    this.touched.clear();
    for (const name of names) {
      try {
        const { campaign, archived, occurrences } = await this.call('campaign.get', { name });
        takeOne(this.state, campaign, Date.now());
        if (campaign.repeats) this.state.occurrences.set(name, occurrences);
        this.state.archived[archived ? 'add' : 'delete'](name);
      } catch (error) {
        if (error instanceof HubError && error.code === 'campaign_not_found') this.state.campaigns.delete(name);
      }
    }
    this.draw();
  }

  /** @param {import('./client.js').Status} status */
  #status(status) {
    const before = this.state.link;
    const lastLive = before.state === 'live' ? Date.now() : before.lastLive;
    // A try under way is not shown; why the last one failed still is.
    if (status.state === 'connecting' && before.state === 'lost') return;
    this.state.link = { ...status, lastLive };
    if (status.state !== before.state && before.lastLive !== undefined) {
      announce(status.state === 'live' ? 'Connected again' : 'The connection to hubd was lost');
    }
    if (status.state === 'live') {
      this.loadHub();
      this.loadSinks();
      this.loadUnread();
      for (const view of this.state.campaigns.values()) if (view.repeats) this.touch(view.name);
      this.refresh();
    }
    this.draw(true);
  }

  /** Fetch what every page shows: providers, and whether anything is wrong with the daemon. */
  loadHub() {
    this.attempt(async () => {
      const status = await this.call('hub.status');
      this.state.providers = status.providers;
      this.state.trouble = status.trouble;
      this.state.status = status;
      if (!this.state.archivedKnown) {
        const all = await this.call('campaign.list', { all: true, archived: true });
        takeAll(this.state, all.campaigns, all.archived);
        this.state.archivedKnown = true;
      }
      this.draw();
    });
  }

  /** How many notifications nobody has read. */
  loadUnread() {
    this.attempt(async () => {
      this.state.unread = (await this.call('notification.list', { unread: true, limit: 1 })).unread;
      this.draw();
    });
  }

  /** How the sinks are. */
  loadSinks() {
    this.attempt(async () => {
      this.state.sinks = (await this.call('sink.list')).sinks;
      this.draw();
    });
  }

  /** The lists with their sizes, fetched once until they change. */
  async loadLists() {
    if (!this.state.lists) this.state.lists = (await this.call('contacts.lists')).lists;
    this.draw();
  }

  /**
   * Ask hubview to start the daemon.
   * @param {boolean} atLogin from now on, also start it when this user logs in
   */
  async startDaemon(atLogin) {
    this.state.link = { ...this.state.link, starting: true };
    this.draw(true);
    await this.attempt(async () => {
      await this.program.ask('/start');
      if (atLogin) await this.program.ask('/login/switch', true);
    });
    this.state.link = { ...this.state.link, starting: false };
    this.client.retry();
    this.draw(true);
  }

  // -- what is shown --------------------------------------------------------------------------------------

  /**
   * Draw the state: at once after something that a person did, else at most four times a second.
   * @param {boolean} [now]
   */
  draw(now = false) {
    if (now) {
      clearTimeout(this.drawing);
      this.#draw();
    } else if (!this.drawing) {
      this.drawing = setTimeout(() => this.#draw(), Math.max(0, this.drawnAt + FRAME - Date.now()));
    }
  }

  #draw() {
    this.drawing = null;
    this.drawnAt = Date.now();
    const page = PAGES[this.state.route.name];
    render(shell(this, page.view(this)), /** @type {any} */ (document.getElementById('app')));
    render(html`${dialogOf(this)}${toastOf(this)}`, /** @type {any} */ (document.getElementById('dialogs')));
    const dialog = document.querySelector('dialog');
    if (dialog && !dialog.open) dialog.showModal();
    page.drawn?.(this);
  }

  /**
   * A message at the bottom, for a while.
   * @param {string} words
   * @param {string} [kind]
   * @param {string} [hint]
   */
  toast(words, kind = '', hint = '') {
    const toast = { words, kind, hint };
    this.state.toast = toast;
    announce(words);
    setTimeout(() => {
      if (this.state.toast === toast) this.closeToast();
    }, TOAST);
    this.draw(true);
  }

  closeToast() {
    this.state.toast = null;
    this.draw(true);
  }

  /** @param {any} dialog what `dialogs.js` shows */
  ask(dialog) {
    this.state.dialog = dialog;
    this.draw(true);
  }

  closeDialog() {
    document.querySelector('dialog')?.close();
    this.state.dialog = null;
    this.draw(true);
  }

  /**
   * Remember a choice, such as the colours.
   * @param {Record<string, string>} choices
   * @param {boolean} [keep] hand it to the program
   */
  choose(choices, keep = true) {
    this.state.choices = { ...this.state.choices, ...choices };
    const theme = this.state.choices.theme;
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    if (keep) {
      const { taken, ...kept } = this.state.choices;
      this.attempt(() => this.program.ask('/choices', kept));
    }
    this.draw(true);
  }
}

/** A menu closes with a click elsewhere. @param {Event} event */
function closeMenus(event) {
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    if (!menu.contains(/** @type {Node} */ (event.target))) menu.removeAttribute('open');
  }
}

/** Changes of state are read aloud, counters never are. @param {string} words */
function announce(words) {
  const place = document.getElementById('announce');
  if (place) place.textContent = words;
}

/** The key from the fragment, which is taken out of the address at once; kept for a reload of this tab. */
function sessionKey() {
  const handed = handedOver(location.hash);
  if (handed) {
    history.replaceState(null, '', `#${handed.path}`);
    try {
      sessionStorage.setItem('key', handed.key);
    } catch {
      // a private web view has no storage: a reload needs hubview again
    }
    return handed.key;
  }
  try {
    return sessionStorage.getItem('key') ?? '';
  } catch {
    return '';
  }
}

new App().start();
