/** Numbers, times and words as people read them. Pure: what the clock or the zone says is handed in. */

const COUNT = new Intl.NumberFormat('en-US');
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** @param {number} value a count, with thousands separated */
export function count(value) {
  return COUNT.format(value);
}

/**
 * A count and its noun.
 * @param {number} value
 * @param {string} one
 * @param {string} [many]
 */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** @param {number} value messages per second, as short as accuracy allows */
export function rate(value) {
  if (!value) return '-';
  if (value >= 10) return `${count(Math.round(value))}/s`;
  return value >= 1 ? `${value.toFixed(1)}/s` : `${count(Math.max(1, Math.round(value * 60)))}/min`;
}

/**
 * A share in percent: what is there never looks like nothing, and what is incomplete never like all.
 * @param {number} part
 * @param {number} whole
 */
export function percent(part, whole) {
  if (!whole) return '-';
  const value = (100 * part) / whole;
  if (part > 0 && value < 0.1) return '< 0.1%';
  if (part < whole && value > 99.9) return '> 99.9%';
  return `${value.toFixed(value === 0 || value === 100 ? 0 : 1)}%`;
}

/** @param {number | null | undefined} seconds a length of time, rounded */
export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '-';
  if (seconds < 1) return 'less than 1 s';
  if (seconds < MINUTE) return `${Math.round(seconds)} s`;
  if (seconds < HOUR) return `${Math.round(seconds / MINUTE)} min`;
  const unit = seconds < DAY ? [HOUR, 'h', MINUTE, 'min'] : [DAY, 'd', HOUR, 'h'];
  const [big, bigName, small, smallName] = /** @type {[number, string, number, string]} */ (unit);
  const whole = Math.floor(seconds / big);
  const rest = Math.floor((seconds % big) / small);
  return rest && whole < 10 ? `${whole} ${bigName} ${rest} ${smallName}` : `${whole} ${bigName}`;
}

/**
 * A point in time, as short as clarity allows: the time if it is today, else the day, too.
 * @param {string | number | null | undefined} at RFC 3339 or milliseconds
 * @param {number} now milliseconds
 * @param {{seconds?: boolean, zone?: string}} [how]
 */
export function time(at, now, { seconds = false, zone } = {}) {
  if (!at) return '-';
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return '-';
  /** @type {Intl.DateTimeFormatOptions} */
  const clock = { hour: '2-digit', minute: '2-digit', hour12: false, timeZone: zone };
  if (seconds) clock.second = '2-digit';
  const shown = new Intl.DateTimeFormat('en-GB', clock).format(date);
  const year = (/** @type {number | Date} */ when) =>
    new Intl.DateTimeFormat('en-GB', { year: 'numeric', timeZone: zone }).format(when);
  const day = (/** @type {number | Date} */ when) =>
    new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: zone }).format(when);
  if (day(date) === day(now)) return shown;
  /** @type {Intl.DateTimeFormatOptions} */
  const calendar = { day: 'numeric', month: 'short', timeZone: zone };
  if (year(date) !== year(now)) calendar.year = 'numeric';
  return `${new Intl.DateTimeFormat('en-GB', calendar).format(date)}, ${shown}`;
}

/** @param {number} bytes a size */
export function size(bytes) {
  if (bytes < 1000) return plural(bytes, 'byte');
  const units = ['KB', 'MB', 'GB'];
  let value = bytes / 1000;
  while (value >= 1000 && units.length > 1) {
    value /= 1000;
    units.shift();
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[0]}`;
}

/** @param {string} word of the protocol, such as in_doubt */
export function words(word) {
  return word.replaceAll('_', ' ');
}

/** @param {string} text with a capital first letter */
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {string} channel */
export function channelName(channel) {
  return channel === 'sms' ? 'SMS' : 'Email';
}
