/** While nothing is there yet: the way to a first campaign. */

import { html } from '../vendor/lit-html/lit-html.js';
import { icon } from '../icons.js';
import { empty } from '../parts.js';
import { mayChange } from '../store.js';

/** While nothing is there yet: the three steps to a first campaign. @param {any} app */
export function first(app) {
  if (!mayChange(app.state))
    return empty('There are no campaigns yet', 'They appear here as soon as somebody makes one.');
  return html`<div class="first">
    <h1>Send your first campaign</h1>
    <p class="t2 lead">
      hubd is running on this computer. Nothing leaves it until you add an account to send with; until then, messages
      are written to files that you can open.
    </p>
    <ol>
      <li>
        <div>
          <h2 class="h3">Import your contacts</h2>
          <p class="t2">Any CSV with an email or a phone column. You review the columns before anything is saved.</p>
        </div>
        <a class="btn btn-primary" href="#/import">${icon('upload')}Choose a CSV</a>
      </li>
      <li>
        <div>
          <h2 class="h3">Write the message</h2>
          <p class="t2">Email or SMS, with a preview as any of your contacts. It is checked before it starts.</p>
        </div>
        <a class="btn" href="#/new">New campaign<kbd aria-hidden="true">N</kbd></a>
      </li>
      <li>
        <div>
          <h2 class="h3">Add the account you send with</h2>
          <p class="t2">
            Gmail, Microsoft 365, another mail server, SendGrid, Amazon or Twilio. The login is tested; nothing is sent.
          </p>
        </div>
        <a class="btn" href="#/providers">Providers</a>
      </li>
    </ol>
  </div>`;
}
