/** A table of any length: only the rows in view are drawn and held, and any row can be reached by its number. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { count } from '../format.js';
import { ROW, inView, topOf } from '../rows.js';

const HEAD = 30; // pixels of the row of titles
const HEIGHT = 480; // pixels of the list before its real height is known
const FEW = 100; // rows that nobody needs a number to find

/**
 * Begin at the top with these rows.
 * @param {any} app
 * @param {any} page
 * @param {import('../rows.js').Rows} rows
 */
export function beginList(app, page, rows) {
  page.scroll = { top: 0, height: page.scroll?.height ?? HEIGHT };
  document.querySelector('.virtual')?.scrollTo(0, 0);
  app.patch(page, { rows, goTo: '' });
  rows.want(0, 50);
}

/**
 * @param {any} app
 * @param {any} page
 * @param {{label: string, titles: unknown, line: (index: number, row: any) => unknown}} shown
 */
export function longList(app, page, { label, titles, line }) {
  const { rows, scroll } = page;
  const { first, last } = inView(rows.total, scroll.top, scroll.height);
  const indexes = Array.from({ length: Math.max(0, last - first) }, (_, index) => first + index);
  return html`<div
    class="virtual"
    tabindex="0"
    role="region"
    aria-label=${label}
    @scroll=${(/** @type {any} */ event) => {
      scroll.top = event.target.scrollTop;
      requestAnimationFrame(() => app.draw(true));
    }}
  >
    <div class="fill">
      <div class="port">
        <table class="table" aria-rowcount=${rows.total + 1}>
          <thead>
            <tr aria-rowindex="1">
              ${titles}
            </tr>
          </thead>
          <tbody>
            ${repeat(
              indexes,
              (index) => index,
              (index) => line(index, rows.row(index)),
            )}
          </tbody>
        </table>
      </div>
    </div>
  </div>`;
}

/**
 * Which rows are in view, and the way to any other.
 * @param {any} app
 * @param {any} page
 */
export function position(app, page) {
  const { rows, scroll } = page;
  if (rows.total <= FEW) return nothing;
  const { first, shift } = inView(rows.total, scroll.top, scroll.height);
  const top = first + Math.ceil(-shift / ROW);
  const bottom = Math.min(rows.total, top + Math.max(1, Math.floor(scroll.height / ROW)));
  return html`<form
    class="goto"
    @submit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      show(app, page, Number(String(page.goTo).replace(/[\s,.]/g, '')) - 1);
    }}
  >
    <span class="num">${count(top + 1)} to ${count(bottom)}</span>
    <label class="vh" for="goto">Go to row</label
    ><input
      class="input s"
      id="goto"
      inputmode="numeric"
      placeholder="Row"
      autocomplete="off"
      .value=${page.goTo ?? ''}
      @input=${(/** @type {any} */ event) => (page.goTo = event.target.value)}
    /><button class="btn btn-s">Go to row</button>
  </form>`;
}

/**
 * Scroll so that this row is the first one in view.
 * @param {any} app
 * @param {any} page
 * @param {number} index
 */
function show(app, page, index) {
  const { rows, scroll } = page;
  const box = document.querySelector('.virtual');
  if (!box || !Number.isInteger(index)) return;
  const wanted = Math.max(0, Math.min(index, rows.total - 1));
  scroll.top = topOf(rows.total, wanted, scroll.height);
  box.scrollTo(0, scroll.top);
  app.draw(true);
}

/** After each drawing: the height of the list, and where its rows stand. @param {any} page */
export function placed(page) {
  const box = /** @type {HTMLElement | null} */ (document.querySelector('.virtual'));
  if (!box || !page.rows) return;
  const fill = /** @type {HTMLElement} */ (box.firstElementChild);
  const pane = /** @type {HTMLElement} */ (fill.firstElementChild);
  page.scroll.height = box.clientHeight - HEAD;
  const { tall, first, last, shift } = inView(page.rows.total, page.scroll.top, page.scroll.height);
  fill.style.height = `${tall + HEAD}px`;
  pane.style.height = `${box.clientHeight}px`;
  pane.style.setProperty('--shift', `${shift}px`);
  page.rows.want(first, last);
}
