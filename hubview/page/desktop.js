/** Notifications of the desktop by the browser, where hubview itself has no program for them. */

/**
 * What to show for an event, if anything: a notification that nobody sees arrive on the page.
 * @param {import('./client.js').HubEvent} event
 * @param {{notifies: boolean, seen: boolean, permission: string}} how `notifies`: hubview does it;
 *   `seen`: somebody looks at the page
 * @returns {{title: string, tag: string} | null}
 */
export function toTell(event, { notifies, seen, permission }) {
  if (event.type !== 'notification.added' || notifies || seen || permission !== 'granted') return null;
  return { title: event.data.headline, tag: `messagehub-${event.data.id}` };
}

/** Whether this browser may notify: "granted", "denied", "default" (not asked yet), or "" for one that cannot. */
export function permission() {
  return 'Notification' in globalThis ? Notification.permission : '';
}

/**
 * Notify of an event where the browser has to.
 * @param {any} app
 * @param {import('./client.js').HubEvent} event
 */
export function tellDesktop(app, event) {
  const seen = document.visibilityState === 'visible' && document.hasFocus();
  const told = toTell(event, { notifies: app.state.notifies, seen, permission: permission() });
  if (!told) return;
  const shown = new Notification(told.title, { tag: told.tag, body: 'MessageHub' });
  shown.onclick = () => {
    window.focus();
    app.go('#/notifications');
    shown.close();
  };
}
