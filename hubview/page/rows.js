/**
 * A long list of which only the part in view is held: pages are fetched as they come into view, in the order of
 * the daemon (each begins after the last of the one before), and the ones farthest from view are dropped.
 */

export const ROW = 34; // pixels
const TALLEST = 30_000_000; // pixels; engines cap an element at some 33.5 million
const AROUND = 8; // rows drawn above and below what is in view
export const PAGE_ROWS = 1000;
const KEPT_PAGES = 6;

/** @typedef {(after: any, limit: number) => Promise<{rows: any[], next: any}>} Fetch */

export class Rows {
  /**
   * @param {Fetch} fetch a page after this cursor; `next` null after the last
   * @param {number} total how many rows there are, as far as is known
   * @param {() => void} changed called when rows have arrived
   */
  constructor(fetch, total, changed) {
    this.fetch = fetch;
    this.total = total;
    this.changed = changed;
    /** @type {Map<number, any[]>} */
    this.pages = new Map();
    /** @type {any[]} where each known page begins */
    this.cursors = [0];
    this.complete = false;
    this.wanted = 0;
    /** @type {Promise<void> | null} */
    this.walking = null;
    /** @type {any} */
    this.error = null;
  }

  /** @param {number} index */
  row(index) {
    return this.pages.get(Math.floor(index / PAGE_ROWS))?.[index % PAGE_ROWS];
  }

  /** How far the list has been read. */
  get read() {
    return Math.min(this.total, (this.cursors.length - 1) * PAGE_ROWS);
  }

  /**
   * See to it that these rows are there, soon.
   * @param {number} from
   * @param {number} to
   */
  want(from, to) {
    this.wanted = Math.floor(Math.max(0, Math.min(to, this.total - 1)) / PAGE_ROWS);
    const first = Math.floor(from / PAGE_ROWS);
    for (const page of [first, this.wanted]) {
      if (!this.pages.has(page)) this.walking ??= this.#walk(first);
    }
  }

  /** @param {number} first */
  async #walk(first) {
    try {
      this.error = null;
      for (;;) {
        const page = this.#missing(Math.min(first, this.wanted));
        if (page === null) break;
        const { rows, next } = await this.fetch(this.cursors[page], PAGE_ROWS);
        this.pages.set(page, rows);
        if (next === null) {
          this.total = page * PAGE_ROWS + rows.length;
          this.complete = true;
          this.wanted = Math.min(this.wanted, page);
        } else {
          this.cursors[page + 1] = next;
          this.total = Math.max(this.total, (page + 1) * PAGE_ROWS + 1);
        }
        this.#drop();
        this.changed();
      }
    } catch (error) {
      this.error = error;
    } finally {
      this.walking = null;
      this.changed();
    }
  }

  /** The page to fetch next: one that is wanted, or one on the way to it. @param {number} first */
  #missing(first) {
    for (let page = first; page <= this.wanted; page += 1) {
      if (this.pages.has(page)) continue;
      if (this.cursors[page] !== undefined) return page;
      return this.complete ? null : this.cursors.length - 1;
    }
    return null;
  }

  #drop() {
    const far = [...this.pages.keys()].sort(
      (one, other) => Math.abs(other - this.wanted) - Math.abs(one - this.wanted),
    );
    for (const page of far.slice(0, Math.max(0, far.length - KEPT_PAGES))) this.pages.delete(page);
  }
}

/**
 * What of a list is drawn: its height, the first and the last row, and where the first one is in the part in view.
 * @param {number} total rows
 * @param {number} top how far it is scrolled, in pixels
 * @param {number} height of the part in view, in pixels
 */
export function inView(total, top, height) {
  const natural = total * ROW;
  const tall = Math.min(natural, TALLEST);
  const room = Math.max(1, tall - height);
  // A list that is taller than an element may be is scrolled in larger steps.
  const offset = natural > tall ? (Math.min(top, room) / room) * (natural - height) : top;
  const first = Math.max(0, Math.floor(offset / ROW) - AROUND);
  const last = Math.min(total, Math.ceil((offset + height) / ROW) + AROUND);
  return { tall, first, last, shift: first * ROW - offset };
}
