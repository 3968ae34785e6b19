/** A campaign as its file: TOML 1.0. Only what is set is written, so that the file says what was chosen. */

const FILES = ['attachments', 'inline']; // only their names: they are beside the file

/** @param {Record<string, any>} spec as campaign.get shows it */
export function toToml(spec) {
  const lines = [];
  const tables = [];
  for (const [key, given] of Object.entries(spec)) {
    const value = FILES.includes(key) ? given.map((/** @type {any} */ file) => file.name) : given;
    if (isEmpty(value)) continue;
    if (typeof value === 'object' && !Array.isArray(value)) tables.push([key, value]);
    else lines.push(`${key} = ${literal(value)}`);
  }
  for (const [key, table] of tables) {
    const inside = Object.entries(table).filter(([, value]) => !isEmpty(value));
    if (inside.length)
      lines.push('', `[${key}]`, ...inside.map(([name, value]) => `${bare(name)} = ${literal(value)}`));
  }
  return `${lines.join('\n')}\n`;
}

/** @param {unknown} value */
function isEmpty(value) {
  return value === null || value === undefined || value === '' || (Array.isArray(value) && !value.length);
}

/** @param {string} key */
function bare(key) {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : text(key);
}

/** @param {any} value @returns {string} */
export function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'object') {
    return `{ ${Object.entries(value)
      .map(([key, inside]) => `${bare(key)} = ${literal(inside)}`)
      .join(', ')} }`;
  }
  return value.includes('\n') ? lines(value) : text(value);
}

/** @param {string} value */
function text(value) {
  return `"${escaped(value)}"`;
}

/**
 * A text of several lines. A carriage return would be taken for the end of a line; a lone quotation mark stays as
 * it is, but three of them would end the text.
 * @param {string} value
 */
function lines(value) {
  const alone = (/** @type {number} */ at) => value[at - 1] !== '"' && value[at + 1] !== '"' && at + 1 < value.length;
  const inside = value.replace(SPECIAL, (char, at) =>
    char === '\n' || (char === '"' && alone(at)) ? char : escapedChar(char),
  );
  return `"""\n${inside}"""`;
}

const SPECIAL = /["\\\u0000-\u001f\u007f]/g;

/** @param {string} value */
function escaped(value) {
  return value.replace(SPECIAL, escapedChar);
}

/** @param {string} char */
function escapedChar(char) {
  if (char === '"' || char === '\\') return `\\${char}`;
  return char === '\t' ? '\\t' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
