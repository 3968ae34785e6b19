/** The client for pages: calls and events over interruptions, on a websocket that the test plays. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HubClient, HubError, REQUESTS_AT_A_TIME } from '../../hubview/page/client.js';

/** The other end: what was sent, and what is answered to it. */
class Wire {
  static all = [];
  constructor(url, protocols) {
    Object.assign(this, { url, protocols, sent: [], closed: false });
    Wire.all.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.closed = true;
    this.onclose?.({ code: 1000, reason: '' });
  }
  say(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

async function next(wire, method) {
  for (let turn = 0; turn < 50; turn += 1) {
    const found = wire.sent.find((each) => each.method === method && !each.taken);
    if (found) return Object.assign(found, { taken: true });
    await settle();
  }
  throw new Error(`${method} was not called`);
}

async function answer(wire, method, result) {
  const asked = await next(wire, method);
  wire.say({ jsonrpc: '2.0', id: asked.id, result });
  await settle();
  return asked;
}

async function opened(index, snapshot = { campaigns: [] }) {
  while (!Wire.all[index]?.onopen) await settle();
  const wire = Wire.all[index];
  wire.onopen();
  await answer(wire, 'hub.hello', { role: 'operator' });
  return { wire, asked: await answer(wire, 'events.subscribe', { epoch: 1, seq: 5, snapshot }) };
}

function client(options = {}) {
  Wire.all = [];
  const told = { events: [], snapshots: 0, status: [] };
  let tickets = 0;
  const hub = new HubClient({
    ticket: async () => ({ url: 'ws://127.0.0.1:1/rpc', ticket: `t${(tickets += 1)}` }),
    topics: ['campaigns'],
    Socket: Wire,
    onEvent: (event) => told.events.push(event.seq),
    onSnapshot: () => (told.snapshots += 1),
    onStatus: (status) => told.status.push(status.state),
    ...options,
  });
  hub.wait = 1;
  hub.start();
  return { hub, told };
}

test('each connection has a ticket of its own, and goes on where the one before ended', async () => {
  const { hub, told } = client();
  const first = await opened(0);
  assert.deepEqual(first.wire.protocols, ['hub.jsonrpc.v1', 'hub.bearer.t1']);
  assert.equal(first.asked.params.after, null);
  first.wire.say({ jsonrpc: '2.0', method: 'event', params: { epoch: 1, seq: 6, type: 'x', data: {} } });
  first.wire.onclose({ code: 1006, reason: '' });
  const second = await opened(1, null);
  assert.deepEqual(second.wire.protocols, ['hub.jsonrpc.v1', 'hub.bearer.t2']);
  assert.deepEqual(second.asked.params.after, { epoch: 1, seq: 6 });
  assert.equal(told.snapshots, 1);
  assert.deepEqual(told.status, ['connecting', 'live', 'lost', 'connecting', 'live']);
  hub.stop();
});

test('when what came since is not kept any more, a snapshot takes its place', async () => {
  const { hub, told } = client();
  const first = await opened(0);
  first.wire.onclose({ code: 1006, reason: '' });
  while (!Wire.all[1]?.onopen) await settle();
  const wire = Wire.all[1];
  wire.onopen();
  await answer(wire, 'hub.hello', {});
  const asked = await next(wire, 'events.subscribe');
  wire.say({ jsonrpc: '2.0', id: asked.id, error: { code: -1, message: 'gone', data: { code: 'resume_gap' } } });
  const again = await answer(wire, 'events.subscribe', { epoch: 2, seq: 9, snapshot: { campaigns: [] } });
  assert.equal(again.params.after, null);
  assert.equal(told.snapshots, 2);
  assert.deepEqual(hub.cursor, { epoch: 2, seq: 9 });
  hub.stop();
});

test('a call made while the connection opens waits for it', async () => {
  const { hub } = client();
  const called = hub.call('campaign.get', { name: 'x' });
  const { wire } = await opened(0);
  await answer(wire, 'campaign.get', { campaign: 1 });
  assert.deepEqual(await called, { campaign: 1 });
  hub.stop();
});

test('an error of the daemon is a HubError with its next step', async () => {
  const { hub } = client();
  const { wire } = await opened(0);
  const called = hub.call('campaign.start', {});
  const asked = await next(wire, 'campaign.start');
  const error = { code: 1, message: 'not ready', data: { code: 'preflight_failed', hint: 'check it' } };
  wire.say({ jsonrpc: '2.0', id: asked.id, error });
  await assert.rejects(called, (found) => {
    assert.ok(found instanceof HubError);
    assert.deepEqual([found.code, found.message, found.hint], ['preflight_failed', 'not ready', 'check it']);
    return true;
  });
  hub.stop();
});

test('what waits for an answer is told when the connection ends, and nothing is sent twice', async () => {
  const { hub } = client();
  const { wire } = await opened(0);
  const called = hub.call('campaign.start', {});
  await next(wire, 'campaign.start');
  wire.onclose({ code: 1001, reason: 'the daemon is stopping' });
  await assert.rejects(called, { code: 'disconnected' });
  const second = await opened(1, null);
  assert.ok(!second.wire.sent.some((each) => each.method === 'campaign.start'));
  hub.stop();
});

test('no more is asked at a time than the daemon answers', async () => {
  const { hub } = client();
  const { wire } = await opened(0);
  const calls = Array.from({ length: 40 }, (_, index) => hub.call('campaign.get', { index }));
  await settle();
  assert.equal(wire.sent.filter((each) => each.method === 'campaign.get').length, REQUESTS_AT_A_TIME);
  for (let index = 0; index < 40; index += 1) await answer(wire, 'campaign.get', { index });
  assert.deepEqual(
    (await Promise.all(calls)).map((each) => each.index),
    [...Array(40).keys()],
  );
  hub.stop();
});

test('a ticket that cannot be had is said, and asked for again', async () => {
  let tries = 0;
  const { hub, told } = client({
    ticket: async () => {
      tries += 1;
      throw new HubError({ code: 'socket_missing', message: 'hubd is not running' });
    },
  });
  while (tries < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.ok(told.status.includes('lost'));
  await assert.rejects(hub.call('hub.status'), { code: 'disconnected' });
  hub.stop();
});
