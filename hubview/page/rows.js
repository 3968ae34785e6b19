/**
 * A long list of which only the part in view is held. A page is fetched when it comes into view, counted from the end
 * of the nearest known page before it, so a far jump is one request. The pages farthest from view are dropped.
 */

export const ROW = 34; // pixels
const TALLEST = 30_000_000; // pixels; engines cap an element at some 33.5 million
const AROUND = 8; // rows drawn above and below what is in view
export const PAGE_ROWS = 200;
const KEPT_PAGES = 30;

/** @typedef {(after: any, limit: number, skip: number) => Promise<{rows: any[], next: any}>} Fetch */

export class Rows {
  /**
   * @param {Fetch} fetch a page after this cursor, without its first rows; `next` null after the last
   * @param {number} total how many rows there are, as far as is known
   * @param {() => void} changed called when rows have arrived
   */
  constructor(fetch, total, changed) {
    this.fetch = fetch;
    this.total = total;
    this.changed = changed;
    /** @type {Map<number, any[]>} */
    this.pages = new Map();
    /** @type {Map<number, any>} the cursors at which pages begin, by number, as far as they are known */
    this.cursors = new Map([[0, 0]]);
    this.complete = false;
    this.first = 0; // the pages that are wanted, from this one to ...
    this.last = 0; // ... this one
    /** @type {Promise<void> | null} */
    this.reading = null;
    /** @type {any} */
    this.error = null;
    this.failed = ''; // the pages that were wanted when fetching failed
  }

  /** @param {number} index */
  row(index) {
    return this.pages.get(Math.floor(index / PAGE_ROWS))?.[index % PAGE_ROWS];
  }

  /**
   * Make sure that these rows will be there soon.
   * @param {number} from
   * @param {number} to
   */
  want(from, to) {
    this.last = Math.floor(Math.max(0, Math.min(to, this.total - 1)) / PAGE_ROWS);
    this.first = Math.min(this.last, Math.floor(from / PAGE_ROWS));
    const asked = `${this.first} ${this.last}`;
    if (asked === this.failed || this.#missing() === null) return; // it is tried again when other pages are wanted
    this.failed = '';
    this.reading ??= this.#read();
  }

  async #read() {
    try {
      this.error = null;
      for (let page = this.#missing(); page !== null; page = this.#missing()) {
        const known = Math.max(...[...this.cursors.keys()].filter((each) => each <= /** @type {number} */ (page)));
        const skip = (page - known) * PAGE_ROWS;
        const { rows, next } = await this.fetch(this.cursors.get(known), PAGE_ROWS, skip);
        this.#take(page, known, rows, next);
        this.changed();
      }
    } catch (error) {
      this.error = error;
      this.failed = `${this.first} ${this.last}`;
    } finally {
      this.reading = null;
      this.changed();
    }
  }

  /**
   * @param {number} page
   * @param {number} known the page from whose beginning it was counted
   * @param {any[]} rows
   * @param {any} next
   */
  #take(page, known, rows, next) {
    if (!rows.length && page > known) {
      // The list has become shorter: look for its end half-way.
      this.total = (known + Math.ceil((page - known) / 2)) * PAGE_ROWS;
      this.want(this.first * PAGE_ROWS, this.last * PAGE_ROWS);
      return;
    }
    this.pages.set(page, rows);
    if (next === null) {
      this.total = page * PAGE_ROWS + rows.length;
      this.complete = true;
      this.want(this.first * PAGE_ROWS, this.last * PAGE_ROWS);
    } else {
      this.cursors.set(page + 1, next);
      this.total = Math.max(this.total, (page + 1) * PAGE_ROWS + 1);
    }
    const far = [...this.pages.keys()].sort((one, other) => Math.abs(other - this.last) - Math.abs(one - this.last));
    for (const each of far.slice(0, Math.max(0, far.length - KEPT_PAGES))) this.pages.delete(each);
  }

  /** The page to fetch next; null when all that is in view is there. */
  #missing() {
    for (let page = this.first; page <= this.last; page += 1) if (!this.pages.has(page)) return page;
    return null;
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

/**
 * How far a list has to be scrolled for this row to be the first one in view.
 * @param {number} total rows
 * @param {number} index
 * @param {number} height of the part in view, in pixels
 */
export function topOf(total, index, height) {
  const natural = total * ROW;
  const tall = Math.min(natural, TALLEST);
  const offset = Math.min(index * ROW, Math.max(0, natural - height));
  return natural > tall ? (offset / (natural - height)) * (tall - height) : offset;
}
