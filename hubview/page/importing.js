/** Importing a file: its rows go to hubd in pages, first as a trial that saves nothing. */

const KEPT_FAULTS = 10000;

/**
 * Read the file and ask hubd what its columns become.
 * @param {any} app
 * @param {File | undefined} file
 */
export async function take(app, file) {
  if (!file) return;
  const { page } = app.state;
  app.patch(page, { error: null, table: null, checked: null, done: null, reading: file.name });
  try {
    const table = await app.program.read(file);
    const list = page.list || listName(file.name);
    app.patch(page, { table, list, maps: {}, skip: [], reading: '' });
    await columns(app);
  } catch (/** @type {any} */ error) {
    app.patch(page, { error: { message: error.message, hint: error.hint }, reading: '' });
  }
}

/** A name for a list, from that of a file. @param {string} name */
export function listName(name) {
  const stem = name.replace(/\.[^.]*$/, '').toLowerCase();
  return (
    stem
      .replace(/[^a-z0-9._-]+/g, '-')
      .replace(/^[^a-z0-9]+|-+$/g, '')
      .slice(0, 64) || 'contacts'
  );
}

/** @param {any} app */
export async function columns(app) {
  const { page } = app.state;
  const { table, maps, skip } = page;
  app.patch(page, { checked: null, error: null });
  try {
    const answer = await app.call('contacts.columns', { columns: table.columns, maps, skip });
    app.patch(page, { columns: answer.columns });
    await send(app, true);
  } catch (/** @type {any} */ error) {
    app.patch(page, { error: { message: error.message, hint: error.hint } });
  }
}

/**
 * Send all rows, as a trial or for good.
 * @param {any} app
 * @param {boolean} trial
 */
export async function send(app, trial) {
  const { page } = app.state;
  const run = (page.run = (page.run ?? 0) + 1); // a newer trial replaces this one
  const keys = page.columns.map((/** @type {any} */ each) => each.key);
  const importId = crypto.randomUUID();
  const sum = { rows: 0, imported: 0, updated: 0, unchanged: 0, duplicates: 0, invalid: 0, faults: 0 };
  /** @type {any[]} */
  const faults = [];
  const add = (/** @type {any[]} */ found, kept = false) => {
    sum.faults += found.length;
    for (const each of found) if (faults.length < KEPT_FAULTS) faults.push({ ...each, kept });
  };
  app.patch(page, { sending: trial ? 'trial' : 'import', sent: 0, error: null });
  try {
    let position = 0;
    for (;;) {
      const found = await app.program.ask('/table/rows', position);
      add(found.bad);
      sum.rows += found.bad.length;
      sum.invalid += found.bad.length;
      if (found.rows.length) {
        const answer = await app.call('contacts.import', {
          list: page.list.trim(),
          rows: found.rows.map((/** @type {any} */ row) => ({ line: row.line, values: valuesOf(row.cells, keys) })),
          import_id: importId,
          dry_run: trial,
          region: page.region?.trim() || null,
        });
        for (const name of /** @type {const} */ (['rows', 'imported', 'updated', 'unchanged', 'duplicates', 'invalid']))
          sum[name] += answer[name];
        add(answer.errors);
        add(answer.warnings, true);
      }
      if (page.run !== run) return;
      app.patch(page, { sent: sum.rows });
      if (found.next === null) break;
      position = found.next;
    }
    faults.sort((one, other) => one.line - other.line);
    app.patch(page, { sending: '', [trial ? 'checked' : 'done']: { ...sum, list: page.list.trim() }, faults });
    if (!trial) app.state.lists = null;
  } catch (/** @type {any} */ error) {
    if (page.run === run) app.patch(page, { sending: '', error: { message: error.message, hint: error.hint } });
  }
}

/**
 * @param {string[]} cells
 * @param {(string | null)[]} keys
 */
export function valuesOf(cells, keys) {
  /** @type {Record<string, string>} */
  const values = {};
  cells.forEach((cell, index) => {
    const key = keys[index];
    if (key !== null && cell) values[key] = cell;
  });
  return values;
}
