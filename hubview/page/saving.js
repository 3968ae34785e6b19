/** Saving a file: the program of the page writes it, and asks where, or the browser fetches it. */

/**
 * @typedef {{kind: 'text', name: string, text: string}
 *   | {kind: 'report', since: string, until: string, label: string}
 *   | {kind: 'recipients', campaign: string, states: string[]}
 *   | {kind: 'contacts', list: string}} Wanted
 */

/**
 * @param {any} app
 * @param {Wanted} wanted
 */
export async function save(app, wanted) {
  if (app.state.saving) return;
  app.state.saving = wanted.kind;
  app.draw(true);
  await app.attempt(async () => {
    const { path, name, saved } = await app.program.ask('/save', wanted);
    if (path) {
      const link = document.createElement('a');
      link.href = path;
      link.download = name;
      link.click();
    } else if (saved) {
      app.toast(`Saved as ${saved}`);
    }
  });
  app.state.saving = '';
  app.draw(true);
}

/**
 * Rows as CSV that a spreadsheet opens safely: as in hubctl, a cell that it would run as a formula gets an apostrophe.
 * @param {unknown[][]} rows
 */
export function csv(rows) {
  const cell = (/** @type {unknown} */ value) => {
    const text = String(value ?? '');
    const guarded = /^'*[=+\-@\t\r\0]/.test(text) ? `'${text}` : text;
    return `"${guarded.replaceAll('"', '""')}"`;
  };
  return `\ufeff${rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('')}`;
}
