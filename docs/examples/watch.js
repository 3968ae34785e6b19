// Follows a campaign until it has ended, over restarts of the daemon. Only the npm package ws is needed.
//
//   npm install ws
//   node watch.js /run/user/1000/messagehub/control.sock spring-sale

const WebSocket = require('ws');

const [path, campaign] = process.argv.slice(2);
if (!campaign) {
  console.error('usage: node watch.js SOCKET CAMPAIGN');
  process.exit(2);
}
let connected = false; // once it was, a lost connection is waited for; before, something is wrong with the path
let cursor; // epoch and seq of the last event: where to go on after the connection was lost

function open() {
  const socket = new WebSocket(`ws+unix:${path}:/rpc`, ['hub.jsonrpc.v1'], { headers: { Host: 'hubd.sock' } });
  let id = 0;
  const waiting = new Map();

  function call(method, params) {
    return new Promise((resolve, reject) => {
      waiting.set(++id, { resolve, reject });
      socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    });
  }

  socket.on('open', async () => {
    connected = true;
    try {
      await call('hub.hello', { client: { name: 'watch.js' }, protocol: [1] });
      const topics = [`campaign:${campaign}`];
      const opened = await call('events.subscribe', { topics, after: cursor, snapshot: !cursor });
      if (opened.snapshot) {
        cursor = { epoch: opened.epoch, seq: opened.seq };
        for (const view of opened.snapshot.campaigns) show(view);
      }
    } catch (error) {
      console.error(`${error.data.code}: ${error.message} ${error.data.hint}`);
      process.exit(1);
    }
  });

  socket.on('message', (data) => {
    const message = JSON.parse(data);
    if (message.method === 'event') take(message.params);
    const asked = waiting.get(message.id);
    if (!asked) return;
    waiting.delete(message.id);
    if (message.error) asked.reject(message.error);
    else asked.resolve(message.result);
  });

  socket.on('error', (error) => {
    if (connected) return; // 'close' follows
    console.error(`${path}: ${error.message}`);
    process.exit(1);
  });
  socket.on('close', () => setTimeout(open, 200));
}

function take(event) {
  cursor = { epoch: event.epoch, seq: event.seq };
  if (event.type === 'campaign.progress') show(event.data.campaign);
  if (event.type === 'campaign.state') console.log(`${event.seq} ${event.data.from} -> ${event.data.to}`);
}

function show(view) {
  console.log(`${view.name} ${view.state}: ${view.counts.sent} of ${view.counts.total} sent`);
  if (['completed', 'stopped', 'failed'].includes(view.state)) process.exit(0);
}

open();
