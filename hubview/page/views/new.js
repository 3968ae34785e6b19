/** A new campaign in three steps that may be visited in any order: audience, message, review and start. */

import { html, nothing } from '../vendor/lit-html/lit-html.js';
import { blank, save, toSpec } from '../draft.js';
import { time } from '../format.js';
import { icon } from '../icons.js';
import { empty, failure, loading } from '../parts.js';
import { toToml } from '../toml.js';
import { audience } from './new-audience.js';
import { message, openMessageStep } from './new-message.js';
import { openReview, review } from './new-review.js';

/** @type {[string, string, (app: any) => unknown][]} */
const STEPS = [
  ['audience', 'Audience', audience],
  ['message', 'Message', message],
  ['review', 'Review and start', review],
];

/** @type {import('../pages.js').Page} */
export const newPage = {
  title: ({ name }) => name ?? 'New campaign',
  view: newCampaign,
  async open(app) {
    const { page, route } = app.state;
    await app.loadLists();
    if (page.draft) return;
    if (!route.params.name) {
      const { lists, newLists } = app.state;
      app.state.newLists = undefined;
      const only = lists.length === 1 ? [lists[0].name] : [];
      app.patch(page, { draft: { ...blank(), lists: newLists ?? only }, step: 'audience', faults: {} });
      return;
    }
    const { campaign, spec } = await app.call('campaign.get', { name: route.params.name });
    const editable = ['draft', 'scheduled'].includes(campaign.state);
    const draft = { ...blank(), ...spec };
    app.patch(page, {
      draft,
      step: 'audience',
      faults: {},
      revision: campaign.revision,
      savedText: JSON.stringify(toSpec(draft)),
      editable,
    });
  },
};

/** @param {any} app */
function newCampaign(app) {
  const { page, route } = app.state;
  const { draft, step } = page;
  if (!draft) return loading('Asking hubd for the lists.');
  if (page.editable === false) {
    return empty(
      `${route.params.name} has been started`,
      'A campaign that was started keeps its content. Make a copy to change it.',
      html`<a class="btn" href="#/campaigns/${route.params.name}">Show it</a>`,
    );
  }
  const shown = STEPS.find(([name]) => name === step) ?? STEPS[0];
  return html`<div class="crumb"><a href="#/">Campaigns</a> /</div>
    <div class="head">
      <h1 class="cut grow">${draft.name || 'New campaign'}</h1>
      <div class="actions">
        <span class="hint" role="status"
          >${page.savedAt ? `Draft saved ${time(page.savedAt, Date.now(), { seconds: true })}` : nothing}</span
        >
        <button class="btn btn-s" @click=${() => showFile(app)}>${icon('file')}Show as file</button>
      </div>
    </div>
    <nav class="steps" aria-label="Steps">
      ${STEPS.map(([name, words], index) => stepLink(app, name, words, index))}
    </nav>
    ${failure(page.problem)} ${shown[2](app)}`;
}

/**
 * @param {any} app
 * @param {string} name
 * @param {string} words
 * @param {number} index
 */
function stepLink(app, name, words, index) {
  const { page } = app.state;
  const done = isDone(page, name) && page.step !== name;
  return html`<button
    class=${done ? 'done' : ''}
    aria-current=${page.step === name ? 'step' : nothing}
    @click=${() => goTo(app, name)}
  >
    <span class="n">${done ? icon('check') : index + 1}</span
    >${words}${done ? html`<span class="vh"> done</span>` : nothing}
  </button>`;
}

/**
 * @param {any} page
 * @param {string} name
 */
function isDone({ draft, savedText }, name) {
  if (name === 'audience') return draft.name !== '' && (draft.lists.length > 0 || Boolean(draft.trigger?.list));
  return name === 'message' && savedText !== undefined;
}

/**
 * Go to a step; the draft is saved on the way if it can be.
 * @param {any} app
 * @param {string} step
 */
export async function goTo(app, step) {
  const { page } = app.state;
  if (step === 'review' && !(await save(app))) {
    app.patch(page, { step: page.faults.name || page.faults.where ? 'audience' : 'message' });
    return;
  }
  app.patch(page, { step, faults: step === 'review' ? page.faults : {} });
  scrollTo(0, 0);
  if (step === 'message') await app.attempt(() => openMessageStep(app));
  if (step === 'review') await app.attempt(() => openReview(app));
}

/** @param {any} app */
function showFile(app) {
  const text = toToml(toSpec(app.state.page.draft));
  app.ask({
    kind: 'ask',
    title: 'As a campaign file',
    words: 'hubctl apply accepts this file and makes the same campaign.',
    body: html`<pre class="file" tabindex="0">${text}</pre>`,
    button: 'Copy',
    act: () => navigator.clipboard.writeText(text),
  });
}
