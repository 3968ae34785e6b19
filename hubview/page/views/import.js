/** Import: a CSV is read, its columns are shown and changed, everything is tried, and only then written. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { count, plural, size } from '../format.js';
import { icon } from '../icons.js';
import { failure, field, note, pageHead } from '../parts.js';
import { columns, send, take } from '../importing.js';
import { address } from '../router.js';
import { csv, save } from '../saving.js';

const SHOWN_FAULTS = 100;
const FIELDS = ['email', 'phone', 'first_name', 'last_name', 'timezone'];
/** @type {Record<string, string>} */
const DELIMITERS = { ',': 'commas', ';': 'semicolons', '\t': 'tabs', '|': 'bars' };

/** @type {import('../pages.js').Page} */
export const importPage = {
  title: () => 'Import',
  view: importing,
  open: (app) => app.loadLists(),
};

/** @param {any} app */
export function importing(app) {
  const { page } = app.state;
  return html`<div class="crumb"><a href="#/contacts">Contacts</a> /</div>
    ${pageHead('Import contacts', page.done ? '' : 'Nothing is saved until you press Import.')} ${drop(app)}
    ${failure(page.error)}
    ${page.done ? html`${finished(app, page.done)}${faults(app)}` : page.columns ? review(app) : nothing}`;
}

/** @param {any} app */
function drop(app) {
  const { page } = app.state;
  const { table } = page;
  const over = (/** @type {boolean} */ is) => (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    /** @type {HTMLElement} */ (event.currentTarget).classList.toggle('over', is);
  };
  return html`<div
    class="drop"
    @dragover=${over(true)}
    @dragleave=${over(false)}
    @drop=${(/** @type {DragEvent} */ event) => {
      over(false)(event);
      take(app, event.dataTransfer?.files[0]);
    }}
  >
    ${icon(table ? 'file' : 'upload', 't2')}
    <div class="grow">
      ${
        table
          ? html`<div class="b">${table.name}</div>
              <div class="t2 s">
                ${plural(table.rows, 'row')}, ${plural(table.columns.length, 'column')},
                ${DELIMITERS[table.delimiter] ?? table.delimiter}, ${size(table.size)}
              </div>`
          : html`<div class="b">${page.reading ? `Reading ${page.reading}` : 'Drop a CSV file here'}</div>
              <div class="t2 s">With a header line, and a column with an email address or a phone number.</div>`
      }
    </div>
    <label class="btn ${table ? 'btn-s' : 'btn-primary'}"
      >${table ? 'Choose another' : 'Choose a file'}<input
        class="vh"
        type="file"
        accept=".csv,.tsv,.txt,text/csv"
        aria-label="A CSV file"
        @change=${(/** @type {any} */ event) => take(app, event.target.files[0])}
    /></label>
  </div>`;
}

/** @param {any} app */
function review(app) {
  const { page } = app.state;
  return html`<div class="build sec">
    <div>${mapping(app)} ${faults(app)}</div>
    <aside class="rail" aria-label="Import">
      ${field({
        id: 'list',
        label: 'Into the list',
        control: html`<input
            class="input"
            id="list"
            list="lists"
            .value=${page.list ?? ''}
            @change=${(/** @type {any} */ event) => {
              app.patch(page, { list: event.target.value });
              columns(app);
            }}
          /><datalist id="lists">
            ${(app.state.lists ?? []).map((/** @type {any} */ each) => html`<option value=${each.name}></option>`)}
          </datalist>`,
        hint: (app.state.lists ?? []).some((/** @type {any} */ each) => each.name === page.list)
          ? 'The list exists: new contacts are added to it.'
          : 'A new list.',
      })}
      ${field({
        id: 'region',
        label: 'Country of phone numbers without a +',
        control: html`<input
          class="input"
          id="region"
          placeholder="such as DE"
          maxlength="2"
          .value=${page.region ?? ''}
          @change=${(/** @type {any} */ event) => {
            app.patch(page, { region: event.target.value.toUpperCase() });
            columns(app);
          }}
        />`,
      })}
      ${outcome(app)}
    </aside>
  </div>`;
}

/** @param {any} app */
function mapping(app) {
  const { page } = app.state;
  const { table, columns: found, skip } = page;
  return html`<section aria-labelledby="h-map">
    <div class="sec-head"><h2 id="h-map">Columns</h2></div>
    <div class="scroll">
      <table class="table flat">
        <thead>
          <tr>
            <th scope="col">Column in the file</th>
            <th scope="col">First rows</th>
            <th scope="col">Becomes</th>
            <th scope="col">Note</th>
          </tr>
        </thead>
        <tbody>
          ${found.map((/** @type {any} */ each, /** @type {number} */ index) => {
            const left = skip.includes(each.column) || each.key === null;
            return html`<tr>
              <td class="b">${each.column || html`<span class="none">without a title</span>`}</td>
              <td class="t2 cell">
                ${table.sample
                  .map((/** @type {string[]} */ row) => row[index])
                  .filter(Boolean)
                  .join(', ')}
              </td>
              <td>${choice(app, each, left)}</td>
              <td class="t3 s">${each.note}</td>
            </tr>`;
          })}
        </tbody>
      </table>
    </div>
  </section>`;
}

/**
 * @param {any} app
 * @param {any} column
 * @param {boolean} left
 */
function choice(app, column, left) {
  const { page } = app.state;
  const now = left ? '' : (column.field ?? column.key);
  const own = column.key && !FIELDS.includes(column.key) ? [column.key] : [];
  const offered = [...new Set([...FIELDS, ...own, ...(now ? [now] : [])])];
  return html`<select
    class="input s"
    aria-label="What ${column.column} becomes"
    .value=${now}
    @change=${(/** @type {any} */ event) => {
      const { value } = event.target;
      const { [column.column]: _, ...maps } = page.maps;
      const skip = page.skip.filter((/** @type {string} */ each) => each !== column.column);
      if (value) app.patch(page, { maps: { ...maps, [column.column]: value }, skip });
      else app.patch(page, { maps, skip: [...skip, column.column] });
      columns(app);
    }}
  >
    <option value="" ?selected=${!now}>(left out)</option>
    ${offered.map((name) => html`<option value=${name} ?selected=${name === now}>${name}</option>`)}
  </select>`;
}

/** @param {any} app */
function outcome(app) {
  const { page } = app.state;
  const { checked, sending, sent, table } = page;
  if (sending) {
    const words = sending === 'trial' ? 'Trying' : 'Importing';
    return html`<p class="hint" role="status">${words}: ${count(sent)} of ${plural(table.rows, 'row')}</p>`;
  }
  if (!checked) return nothing;
  const people = checked.imported + checked.updated + checked.unchanged;
  return html`<section aria-labelledby="h-out">
      <div class="sec-head"><h2 id="h-out">When you press Import</h2></div>
      <dl class="sum">
        <div>
          <dt>New contacts</dt>
          <dd>${count(checked.imported)}</dd>
        </div>
        <div>
          <dt>Changed</dt>
          <dd>${count(checked.updated)}</dd>
        </div>
        <div>
          <dt>Already so</dt>
          <dd>${count(checked.unchanged)}</dd>
        </div>
        ${
          checked.duplicates
            ? html`<div>
                <dt>Twice in the file</dt>
                <dd>${count(checked.duplicates)}</dd>
              </div>`
            : nothing
        }
        ${
          checked.invalid
            ? html`<div>
                <dt>Left out</dt>
                <dd class="bad">${count(checked.invalid)}</dd>
              </div>`
            : nothing
        }
        <div class="total">
          <dt>On the list ${checked.list}</dt>
          <dd>${count(people)}</dd>
        </div>
      </dl>
    </section>
    <button class="btn btn-primary" @click=${() => send(app, false)}>Import ${plural(people, 'contact')}</button>`;
}

/** @param {any} app */
function faults(app) {
  const { page } = app.state;
  if (!page.faults?.length) return nothing;
  const more = page.faults.length - SHOWN_FAULTS;
  return html`<section class="sec" aria-labelledby="h-bad">
    <div class="sec-head">
      <h2 id="h-bad">What could not be used</h2>
      <span class="t3 s">${count(page.faults.length)}</span>
      <span class="aside"
        ><button
          class="btn btn-quiet btn-s"
          @click=${() => save(app, { kind: 'text', name: 'not-imported.csv', text: faultsText(page.faults) })}
        >
          ${icon('download')}Save as CSV
        </button></span
      >
    </div>
    <table class="table flat">
      <thead>
        <tr>
          <th class="num w-people" scope="col">Line</th>
          <th class="w-class" scope="col">Field</th>
          <th scope="col">Why</th>
        </tr>
      </thead>
      <tbody>
        ${page.faults.slice(0, SHOWN_FAULTS).map(
          (/** @type {any} */ each) =>
            html`<tr>
              <td class="num t2">${count(each.line)}</td>
              <td>${each.field || html`<span class="none">row</span>`}</td>
              <td>${each.problem} <span class="t3">${each.kept ? 'The rest of the row is used.' : ''}</span></td>
            </tr>`,
        )}
      </tbody>
    </table>
    ${more > 0 ? html`<p class="hint below">and ${count(more)} more; the file has all of them.</p>` : nothing}
  </section>`;
}

/** @param {any[]} found */
function faultsText(found) {
  return csv([['line', 'field', 'problem'], ...found.map((each) => [each.line, each.field, each.problem])]);
}

/**
 * @param {any} app
 * @param {any} done
 */
function finished(app, done) {
  const people = done.imported + done.updated + done.unchanged;
  return note(
    'good',
    'done',
    html`<b class="b"
        >${plural(people, 'contact')} of this file ${people === 1 ? 'is' : 'are'} on the list ${done.list}.</b
      >
      ${done.invalid ? `${plural(done.invalid, 'row')} could not be used.` : ''}`,
    html`<a class="btn btn-s" href=${address('contacts', 'list', done.list)}>Show the list</a
      ><a class="btn btn-s btn-primary" href="#/new" @click=${() => (app.state.newLists = [done.list])}
        >Write to them</a
      >`,
  );
}
