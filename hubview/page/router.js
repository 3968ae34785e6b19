/** Which page an address names: the fragment of the page's URL, such as #/campaigns/spring-sale/failures. Pure. */

/** @type {[string, string][]} pattern, name of the page */
const ROUTES = [
  ['/', 'home'],
  ['/new', 'new'],
  ['/new/:name', 'new'],
  ['/campaigns/:name', 'campaign'],
  ['/campaigns/:name/:tab', 'campaign'],
  ['/inbox', 'inbox'],
  ['/inbox/:kind', 'inbox'],
  ['/inbox/:kind/:item', 'inbox'],
  ['/notifications', 'notifications'],
  ['/reports', 'reports'],
  ['/reports/:span', 'reports'],
  ['/contacts', 'contacts'],
  ['/contacts/list/:list', 'contacts'],
  ['/contacts/one/:contact', 'contacts'],
  ['/import', 'import'],
  ['/providers', 'providers'],
  ['/sinks', 'sinks'],
  ['/suppressions', 'suppressions'],
  ['/credits', 'credits'],
  ['/credits/:account', 'credits'],
  ['/settings', 'settings'],
];

/**
 * @param {string} path
 * @returns {{name: string, params: Record<string, string>, path: string}} "missing" for an address of no page
 */
export function route(path) {
  const parts = path.split('/').filter(Boolean);
  for (const [pattern, name] of ROUTES) {
    const wanted = pattern.split('/').filter(Boolean);
    if (wanted.length !== parts.length) continue;
    /** @type {Record<string, string>} */
    const params = {};
    const fits = wanted.every((part, index) => {
      if (!part.startsWith(':')) return part === parts[index];
      params[part.slice(1)] = decode(parts[index]);
      return true;
    });
    if (fits) return { name, params, path };
  }
  return { name: 'missing', params: {}, path };
}

/** @param {...string} parts the words of an address, unescaped */
export function address(...parts) {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

/**
 * What hubview handed to the page in the fragment: the key, and where to go.
 * @param {string} hash
 * @returns {{key: string, path: string} | null} null when the fragment is only a path
 */
export function handedOver(hash) {
  const found = /^#key=([A-Za-z0-9_-]+)&at=(.*)$/.exec(hash);
  return found ? { key: found[1], path: decode(found[2]) || '/' } : null;
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
