/** The program that serves this page: it gets the tickets and can start the daemon. */

import { HubError } from './client.js';

export class Program {
  /** @param {string} key what shows that it opened this page */
  constructor(key) {
    this.key = key;
  }

  /**
   * @param {string} path
   * @param {unknown} [body]
   * @returns {Promise<any>}
   */
  async ask(path, body = null) {
    return this.#post(path, 'application/json', JSON.stringify(body));
  }

  /**
   * Hand over a file of contacts.
   * @param {File} file
   * @returns {Promise<any>} its columns and first rows
   */
  async read(file) {
    return this.#post(`/table?${encodeURIComponent(file.name)}`, 'application/octet-stream', file);
  }

  /**
   * @param {string} path
   * @param {string} type
   * @param {string | File} body
   */
  async #post(path, type, body) {
    let answer;
    try {
      answer = await fetch(path, {
        method: 'POST',
        headers: { 'Hubview-Key': this.key, 'Content-Type': type },
        body,
      });
    } catch {
      throw new HubError({
        code: 'program_ended',
        message: 'hubview has ended, so this page cannot connect again.',
        hint: 'Close this page and start hubview again. Your campaigns continue.',
      });
    }
    if (!answer.ok) {
      throw new HubError({
        code: 'wrong_key',
        message: 'This page was not opened by hubview, or that hubview has ended.',
        hint: 'Close it and open it again with: hubview',
      });
    }
    const told = await answer.json();
    if (told.error) throw new HubError({ ...told.error, data: told.error });
    return told;
  }
}
