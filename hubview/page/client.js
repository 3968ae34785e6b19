/**
 * A client for web pages: calls, and events that continue after every interruption.
 *
 * It needs nothing but a WebSocket. The program that serves the page gets the tickets (auth.ticket):
 *
 *     const hub = new HubClient({
 *       ticket: async () => (await fetch('/ticket', { method: 'POST' })).json(), // {url, ticket}
 *       topics: ['campaigns'],
 *       onSnapshot: (snapshot) => ...,
 *       onEvent: (event) => ...,
 *     });
 *     hub.start();
 *     await hub.call('campaign.pause', { name: 'spring-sale' });
 */

const SUBPROTOCOL = 'hub.jsonrpc.v1';
const FIRST_WAIT = 250; // milliseconds before the first retry; each further one waits twice as long ...
const LONGEST_WAIT = 5000; // ... up to this
const STEADY = 10000; // milliseconds after which a connection counts as good, and the next wait is short again
export const REQUESTS_AT_A_TIME = 24; // the daemon answers 32 at a time; the rest are for the caller's batch

/** What the daemon, or the way to it, answered instead of a result. `message` is a sentence for people. */
export class HubError extends Error {
  /** @param {{code?: string, message?: string, hint?: string, data?: any}} told */
  constructor({ code = 'error', message = '', hint = '', data = {} }) {
    super(message);
    this.name = 'HubError';
    this.code = code;
    this.hint = hint;
    this.data = data;
  }
}

/**
 * @typedef {object} HubEvent
 * @property {number} epoch
 * @property {number} seq
 * @property {string} ts
 * @property {string} type
 * @property {string} campaign
 * @property {any} data
 *
 * @typedef {object} Status
 * @property {'connecting' | 'live' | 'lost'} state
 * @property {HubError} [error] why it is lost
 * @property {number} [retryAt] when it is tried again, in milliseconds since 1970
 *
 * @typedef {object} Options
 * @property {() => Promise<{url: string, ticket: string}>} ticket gets a fresh ticket, or throws a HubError
 * @property {string[]} topics what to subscribe to
 * @property {{name: string, version: string}} [client] who is calling
 * @property {number} [gaugeHz] live figures at most this many times a second
 * @property {(snapshot: {campaigns: any[]}) => void} [onSnapshot] the state that the events continue from
 * @property {(event: HubEvent) => void} [onEvent]
 * @property {(hello: any) => void | Promise<void>} [onConnected] after each (re)connection, before its events
 * @property {(status: Status) => void} [onStatus]
 * @property {any} [Socket] a WebSocket class to use instead of the platform's
 */

export class HubClient {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    /** @type {{epoch: number, seq: number} | null} where to continue after an interruption */
    this.cursor = null;
    /** @type {any} what the daemon said about itself */
    this.hello = null;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    /** @type {(() => void)[]} calls that wait for their turn */
    this.line = [];
    /** @type {(() => void)[]} calls that wait for the connection that is being made */
    this.opening = [];
    this.inFlight = 0;
    this.lastId = 0;
    this.wait = FIRST_WAIT;
    this.stopped = true;
    this.live = false;
    /** @type {any} */
    this.timer = null;
  }

  /** Connect, and stay connected until `stop`. */
  start() {
    this.stopped = false;
    this.retry();
  }

  /** End the connection. */
  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  /** Try to connect now instead of after the wait. */
  retry() {
    if (this.stopped || this.socket) return;
    clearTimeout(this.timer);
    this.#open();
  }

  /**
   * Call a method.
   * @param {string} method
   * @param {object} [params]
   * @returns {Promise<any>} its result; rejects with a HubError
   */
  async call(method, params = {}) {
    // Wait, once, for a connection that is just being made.
    if (!this.live && this.socket) await new Promise((resolve) => this.opening.push(() => resolve(undefined)));
    if (!this.live) throw disconnected();
    if (this.inFlight >= REQUESTS_AT_A_TIME) {
      await new Promise((resolve) => this.line.push(() => resolve(undefined)));
      if (!this.live) throw disconnected();
    }
    this.inFlight += 1;
    try {
      return await this.#send(method, params);
    } finally {
      this.inFlight -= 1;
      this.line.shift()?.();
    }
  }

  async #open() {
    this.#tell({ state: 'connecting' });
    const placeholder = /** @type {any} */ ({ close() {} });
    this.socket = placeholder;
    try {
      const { url, ticket } = await this.options.ticket();
      if (this.stopped) return;
      const Socket = this.options.Socket ?? WebSocket;
      const socket = new Socket(url, [SUBPROTOCOL, `hub.bearer.${ticket}`]);
      this.socket = socket;
      socket.onopen = () => this.#greet(socket);
      socket.onmessage = (/** @type {MessageEvent} */ message) => this.#take(JSON.parse(message.data));
      socket.onclose = (/** @type {CloseEvent} */ closed) => this.#lost(socket, reasonOf(closed));
    } catch (error) {
      this.#lost(this.socket, error instanceof HubError ? error : new HubError({ message: String(error) }));
    }
  }

  /** @param {WebSocket} socket */
  async #greet(socket) {
    try {
      const client = this.options.client ?? { name: 'page', version: '' };
      this.hello = await this.#send('hub.hello', { client, protocol: [1] });
      this.live = true;
      for (const next of this.opening.splice(0)) next();
      await this.options.onConnected?.(this.hello);
      await this.#subscribe();
      this.#tell({ state: 'live' });
      this.timer = setTimeout(() => (this.wait = FIRST_WAIT), STEADY);
    } catch (error) {
      this.failure = error instanceof HubError ? error : new HubError({ message: String(error) });
      socket.close();
    }
  }

  async #subscribe() {
    const { topics, gaugeHz = 4 } = this.options;
    const params = { topics, after: this.cursor, snapshot: !this.cursor, gauge_hz: gaugeHz };
    try {
      this.#begin(await this.#send('events.subscribe', params));
    } catch (error) {
      if (!(error instanceof HubError) || error.code !== 'resume_gap') throw error;
      // What came after the cursor is no longer kept, so a snapshot takes its place.
      this.#begin(await this.#send('events.subscribe', { ...params, after: null, snapshot: true }));
    }
  }

  /** @param {any} opened the answer to events.subscribe */
  #begin(opened) {
    if (!opened.snapshot) return;
    this.cursor = { epoch: opened.epoch, seq: opened.seq };
    this.options.onSnapshot?.(opened.snapshot);
  }

  /**
   * @param {string} method
   * @param {object} params
   */
  #send(method, params) {
    return new Promise((resolve, reject) => {
      this.lastId += 1;
      this.waiting.set(this.lastId, { resolve, reject });
      this.socket?.send(JSON.stringify({ jsonrpc: '2.0', id: this.lastId, method, params }));
    });
  }

  /** @param {any} message */
  #take(message) {
    if (message.method === 'event') {
      const event = message.params;
      this.cursor = { epoch: event.epoch, seq: event.seq };
      this.options.onEvent?.(event);
      return;
    }
    const asked = this.waiting.get(message.id);
    if (!asked) return;
    this.waiting.delete(message.id);
    if (message.error) {
      const { message: words, data = {} } = message.error;
      asked.reject(new HubError({ code: data.code, message: words, hint: data.hint, data }));
    } else {
      asked.resolve(message.result);
    }
  }

  /**
   * @param {any} socket
   * @param {HubError} error
   */
  #lost(socket, error) {
    if (socket !== this.socket) return;
    this.socket = null;
    this.live = false;
    clearTimeout(this.timer);
    const why = this.failure ?? error;
    this.failure = undefined;
    for (const { reject } of this.waiting.values()) reject(disconnected());
    this.waiting.clear();
    for (const next of [...this.line.splice(0), ...this.opening.splice(0)]) next();
    if (this.stopped) return;
    this.#tell({ state: 'lost', error: why, retryAt: Date.now() + this.wait });
    this.timer = setTimeout(() => this.retry(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }

  /** @param {Status} status */
  #tell(status) {
    this.options.onStatus?.(status);
  }
}

function disconnected() {
  return new HubError({
    code: 'disconnected',
    message: 'The connection to hubd ended before the answer.',
    hint: 'Check whether it took effect before you repeat it.',
  });
}

/** @param {CloseEvent} closed */
function reasonOf(closed) {
  return new HubError({
    code: closed.code === 1006 ? 'disconnected' : `closed_${closed.code}`,
    message: closed.reason || 'The connection to hubd was lost.',
  });
}
