/** The configuration that hubd uses, by the tables of hubd.toml. Pure. */

/**
 * One table, such as "sinks.control": its keys with their values; empty for one that is not there.
 * @param {{settings: {key: string, value: any}[]} | null | undefined} config as config.show answers
 * @param {...string} names of the tables
 * @returns {Record<string, any>}
 */
export function tableOf(config, ...names) {
  const begin = `${names.join('.')}.`;
  /** @type {Record<string, any>} */
  const found = {};
  for (const { key, value } of config?.settings ?? []) {
    if (key.startsWith(begin)) found[key.slice(begin.length)] = value;
  }
  return found;
}
