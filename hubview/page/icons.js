/** The icons: 16 by 16, drawn with the colour of the text beside them. */

import { html, svg } from './vendor/lit-html/lit-html.js';

const SHAPES = {
  list: svg`<path d="M2 4h12M2 8h8M2 12h10"/>`,
  plus: svg`<path d="M8 3v10M3 8h10"/>`,
  people: svg`<circle cx="6" cy="5.2" r="2.4"/><path d="M1.8 13c.3-2.4 2-3.8 4.2-3.8s3.9 1.4 4.2 3.8M10.5 3.2a2.3 2.3 0 0 1 0 4.2M12 9.6c1.3.6 2.1 1.8 2.3 3.4"/>`,
  plug: svg`<path d="M6 2v3M10 2v3M4 5h8v2.5a4 4 0 0 1-8 0zM8 11.5V14"/>`,
  unplugged: svg`<path d="M6 2v3M10 2v3M4 5h8v2.5a4 4 0 0 1-6.9 2.8M2 14 14 2"/>`,
  barred: svg`<circle cx="8" cy="8" r="5.75"/><path d="m4 4 8 8"/>`,
  tray: svg`<path d="M2 9.5V12a1.5 1.5 0 0 0 1.5 1.5h9A1.5 1.5 0 0 0 14 12V9.5L12 3.3A1.2 1.2 0 0 0 10.9 2.5H5.1A1.2 1.2 0 0 0 4 3.3zM2 9.5h3.3l1 1.7h3.4l1-1.7H14"/>`,
  chart: svg`<path d="M2.5 13.5h11M4.5 11V8.5M8 11V3.5M11.5 11V6"/>`,
  bell: svg`<path d="M4 11V7.5a4 4 0 0 1 8 0V11l1.3 1.5H2.7zM6.6 14.2h2.8"/>`,
  coins: svg`<ellipse cx="8" cy="4.5" rx="5" ry="2"/><path d="M3 4.5v7c0 1.1 2.2 2 5 2s5-.9 5-2v-7M3 8c0 1.1 2.2 2 5 2s5-.9 5-2"/>`,
  sliders: svg`<path d="M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6"/><circle cx="10" cy="4.5" r="1.75"/><circle cx="6" cy="11.5" r="1.75"/>`,
  brand: svg`<circle cx="8" cy="8" r="2.2" fill="currentColor" stroke="none"/><path d="M8 5.8V2.6M6.1 9.1 3.3 10.7M9.9 9.1l2.8 1.6"/><circle cx="8" cy="1.9" r=".9"/><circle cx="2.6" cy="11.1" r=".9"/><circle cx="13.4" cy="11.1" r=".9"/>`,
  dot: svg`<circle cx="8" cy="8" r="5" fill="currentColor" stroke="none"/>`,
  search: svg`<circle cx="7" cy="7" r="4.25"/><path d="m10.2 10.2 3.3 3.3"/>`,
  play: svg`<path d="M5 3.3v9.4l7.5-4.7z" fill="currentColor"/>`,
  pause: svg`<path d="M5.5 3.5v9M10.5 3.5v9" stroke-width="2.25"/>`,
  stop: svg`<rect x="4" y="4" width="8" height="8" rx="1"/>`,
  clock: svg`<circle cx="8" cy="8" r="5.75"/><path d="M8 4.8V8l2.2 1.6"/>`,
  done: svg`<circle cx="8" cy="8" r="6" fill="currentColor" stroke="none"/><path d="m5.2 8.2 2 2 3.7-4.1" class="cutout"/>`,
  cross: svg`<circle cx="8" cy="8" r="6" fill="currentColor" stroke="none"/><path d="m5.7 5.7 4.6 4.6M10.3 5.7l-4.6 4.6" class="cutout"/>`,
  open: svg`<circle cx="8" cy="8" r="5.75" stroke-dasharray="2.4 2.1"/>`,
  doubt: svg`<circle cx="8" cy="8" r="5.75"/><path d="M6.3 6.4A1.75 1.75 0 1 1 8.8 8c-.6.3-.8.6-.8 1.2M8 11.2v.1"/>`,
  sent: svg`<circle cx="8" cy="8" r="5.75"/><path d="M5.3 8h5M8.3 5.8 10.5 8l-2.2 2.2"/>`,
  skipped: svg`<circle cx="8" cy="8" r="5.75"/><path d="M5 8h6"/>`,
  arrow: svg`<path d="M2.5 8h10.5M9 4l4 4-4 4"/>`,
  retry: svg`<path d="M13 8a5 5 0 1 1-1.5-3.5L13 6M13 2.8V6H9.8"/>`,
  warning: svg`<path d="M8 2.2 14.2 13H1.8z"/><path d="M8 6.3v3.2M8 11.3v.1"/>`,
  info: svg`<circle cx="8" cy="8" r="5.75"/><path d="M8 7.3v3.5M8 5.1v.1"/>`,
  check: svg`<path d="m3 8.5 3.3 3.3L13 4.8"/>`,
  close: svg`<path d="m4 4 8 8M12 4l-8 8"/>`,
  more: svg`<circle cx="3.5" cy="8" r=".9" fill="currentColor" stroke="none"/><circle cx="8" cy="8" r=".9" fill="currentColor" stroke="none"/><circle cx="12.5" cy="8" r=".9" fill="currentColor" stroke="none"/>`,
  up: svg`<path d="m4 10 4-4 4 4"/>`,
  previous: svg`<path d="m10 4-4 4 4 4"/>`,
  next: svg`<path d="m6 4 4 4-4 4"/>`,
  share: svg`<circle cx="4" cy="8" r="1.75"/><circle cx="12" cy="4" r="1.75"/><circle cx="12" cy="12" r="1.75"/><path d="m5.6 7.2 4.8-2.4M5.6 8.8l4.8 2.4"/>`,
  file: svg`<path d="M4 2h5l3 3v9H4zM9 2v3h3"/>`,
  download: svg`<path d="M8 2.5V10M4.8 7 8 10.2 11.2 7M2.5 10.5v3h11v-3"/>`,
  upload: svg`<path d="M8 10.5V3M4.8 6 8 2.8 11.2 6M2.5 10.5v3h11v-3"/>`,
  mail: svg`<rect x="2" y="3.5" width="12" height="9" rx="1.2"/><path d="m2.5 4.5 5.5 4.3 5.5-4.3"/>`,
  sms: svg`<path d="M3 3h10a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1H7l-3.2 2.5V11H3a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1z"/>`,
  desktop: svg`<rect x="2" y="3" width="12" height="8" rx="1"/><path d="M5.5 13.5h5"/>`,
  phone: svg`<rect x="4.5" y="1.75" width="7" height="12.5" rx="1.5"/><path d="M7.3 12h1.4"/>`,
  lines: svg`<path d="M3 4h10M3 7h10M3 10h10M3 13h6"/>`,
  broom: svg`<path d="m13 3-5 5M5 7l4 4-3 3H2.5l.7-3.5zM6 13l.5-1.5"/>`,
  trash: svg`<path d="M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9"/>`,
};

/**
 * @param {keyof typeof SHAPES} name
 * @param {string} [tone] a class that colours it, such as "wait"
 */
export function icon(name, tone = '') {
  return html`<svg class="i ${tone}" viewBox="0 0 16 16" aria-hidden="true">${SHAPES[name]}</svg>`;
}

/** @typedef {keyof typeof SHAPES} IconName */
