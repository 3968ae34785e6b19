/** Templates as text, without a browser: enough to see what a view shows. */

globalThis.document = { createTreeWalker: () => ({}), createComment: () => ({}) };
const { nothing } = await import('../../hubview/page/vendor/lit-html/lit-html.js');

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** A template as HTML; what a listener or a property is set to is left out. */
export function html(value) {
  if (value === nothing || value === null || value === undefined || value === false) return '';
  if (Array.isArray(value)) return value.map(html).join('');
  if (value.strings) return template(value);
  if (value._$litDirective$) return repeated(value);
  return String(value).replace(/[&<>"]/g, (char) => ESCAPES[char]);
}

/** What a person reads: the text without tags, in one line. */
export function text(value) {
  return html(value)
    .replace(/<[^>]*>/g, ' ')
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&quot;/g, '"')
    .replace(/&amp;/g, '&')
    .replace(/\s+/g, ' ')
    .trim();
}

function template({ strings, values }) {
  let out = strings[0];
  values.forEach((value, index) => {
    const attribute = /\s([@.?]?)([\w-]+)=["']?$/.exec(out);
    if (attribute && ['@', '.'].includes(attribute[1])) out = out.slice(0, attribute.index) + ' data-set="';
    else if (attribute?.[1] === '?') out = `${out.slice(0, attribute.index)} ${value ? attribute[2] : 'data-off'}="`;
    else if (attribute && value === nothing) out = `${out.slice(0, attribute.index)} data-off="`;
    else if (attribute && !/["']$/.test(out)) out += `"${html(value)}`;
    else out += html(value);
    const quoted = attribute && (/["']$/.test(strings[index]) || strings[index + 1].startsWith('"'));
    out += attribute && !quoted ? `"${strings[index + 1]}` : strings[index + 1];
  });
  return out;
}

function repeated({ values: [items, , draw] }) {
  return [...items].map((item, index) => html(draw(item, index))).join('');
}
