// A web page as seen from the daemon, played by npm's `ws`: comes by a ticket, follows a campaign, is cut off,
// comes back by its session token, and misses nothing. Prints one JSON object.
//   node page.js URL TICKET ORIGIN
'use strict';
const WebSocket = require('ws');
const [url, ticket, origin] = process.argv.slice(2);

function open(token, from) {
  const socket = new WebSocket(url, ['hub.jsonrpc.v1', 'hub.bearer.' + token], { origin: from });
  socket.pending = new Map();
  socket.events = [];
  socket.on('message', (data, binary) => {
    if (binary) throw new Error('a binary frame');
    const message = JSON.parse(data);
    if (message.method === 'event') {
      socket.events.push(message.params);
      if (socket.onevent) socket.onevent();
    } else if (message.id !== undefined) {
      socket.pending.get(message.id)(message);
    }
  });
  return new Promise((resolve, reject) => {
    socket.on('open', () => resolve(socket));
    socket.on('unexpected-response', (_, response) => resolve({ refused: response.statusCode }));
    socket.on('error', reject);
  });
}

let last = 0;
function ask(socket, method, params) {
  const id = ++last;
  return new Promise((resolve) => {
    socket.pending.set(id, resolve);
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
  });
}

async function greet(socket) {
  const params = { client: { name: 'page', version: '1' }, protocol: [1] };
  return (await ask(socket, 'hub.hello', params)).result;
}

async function main() {
  const seen = {};
  seen.elsewhere = (await open(ticket + 'x', origin)).refused;
  seen.evil = (await open(ticket, 'https://evil.example')).refused;
  let socket = await open(ticket, origin);
  seen.protocol = socket.protocol;
  let hello = await greet(socket);
  seen.role = hello.role;
  seen.forbidden = (await ask(socket, 'hub.shutdown')).error.code;
  const opened = (await ask(socket, 'events.subscribe', { topics: ['campaigns', 'daemon'], gauge_hz: 0 })).result;
  socket.terminate();

  seen.reused = (await open(ticket, origin)).refused;
  socket = await open(hello.session_token, origin);
  const again = await greet(socket);
  seen.renewed = again.session_token !== hello.session_token;
  const after = { epoch: opened.epoch, seq: opened.seq };
  const resumed = await ask(socket, 'events.subscribe', { topics: ['campaigns', 'daemon'], after, gauge_hz: 0, snapshot: false });
  seen.resumed = resumed.result.seq === opened.seq;
  console.log(JSON.stringify(seen));
  socket.close(1000);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
