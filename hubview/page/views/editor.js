/** The editor of a text: each line with a finding is marked, and the findings stand below. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { findingsIn, spanOfLine } from '../findings.js';
import { icon } from '../icons.js';
import { field } from '../parts.js';

/**
 * @param {any} page with `draft`, `faults` and `warnings`
 * @param {string} key the part: "text" or "html"
 * @param {(value: string) => void} changed
 */
export function editor(page, key, changed) {
  const { draft, faults, warnings = [] } = page;
  const isHtml = key === 'html';
  const text = draft[key] ?? '';
  const found = findingsIn(key, faults, warnings);
  const isBad = faults[key] || found.some((each) => each.bad);
  return html`${field({
    id: key,
    label: isHtml ? 'HTML' : 'Text',
    error: faults[key],
    hint: isHtml ? 'Together with plain text it reaches everybody.' : undefined,
    control: html`<div class="written">
      ${found.length ? marks(text, found) : nothing}
      <textarea
        class="input body mono"
        id=${key}
        spellcheck=${isHtml ? 'false' : 'true'}
        aria-invalid=${isBad ? 'true' : 'false'}
        aria-describedby=${found.length ? `${key}-found` : nothing}
        .value=${text}
        @scroll=${follow}
        @input=${(/** @type {any} */ event) => changed(event.target.value)}
      ></textarea>
    </div>`,
  })}
  ${found.length ? list(key, found) : nothing}`;
}

/**
 * The same text behind the one that is written, so that a line that wraps is marked whole.
 * @param {string} text
 * @param {import('../findings.js').Finding[]} found
 */
function marks(text, found) {
  const kinds = new Map(found.map((each) => [each.line, each.bad ? 'bad' : 'odd']));
  for (const { line, bad } of found) if (bad) kinds.set(line, 'bad');
  return html`<div class="marks body mono" aria-hidden="true">
    ${text.split('\n').map((line, index) => html`<div class=${kinds.get(index + 1) ?? nothing}>${line || '\u200b'}</div>`)}
  </div>`;
}

/** The marks scroll with the text. @param {Event} event */
function follow(event) {
  const area = /** @type {HTMLElement} */ (event.target);
  const behind = area.previousElementSibling;
  if (behind) behind.scrollTop = area.scrollTop;
}

/**
 * @param {string} key
 * @param {import('../findings.js').Finding[]} found
 */
function list(key, found) {
  return html`<ul class="findings" id="${key}-found" aria-label="Found in this text">
    ${found.map(
      ({ line, problem, bad }) =>
        html`<li>
          ${icon(bad ? 'cross' : 'warning', bad ? 'bad' : 'wait')}
          <div>${problem}</div>
          <button class="btn btn-s" @click=${() => select(key, line)}>Line ${line}</button>
        </li>`,
    )}
  </ul>`;
}

/**
 * Select a line of the text.
 * @param {string} key
 * @param {number} line
 */
function select(key, line) {
  const area = /** @type {HTMLTextAreaElement | null} */ (document.getElementById(key));
  if (!area) return;
  const [from, to] = spanOfLine(area.value, line);
  area.focus();
  area.setSelectionRange(from, to);
  const height = area.scrollHeight / area.value.split('\n').length;
  area.scrollTop = Math.max(0, (line - 3) * height);
}
