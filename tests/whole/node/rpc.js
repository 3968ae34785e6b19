// npm's `jayson`, a JSON-RPC client that knows nothing of the daemon. Prints one JSON object.
//   node rpc.js SOCKET
'use strict';
const WebSocket = require('ws');
const jayson = require('jayson');

const headers = { Host: 'hubd.sock' };
const ws = new WebSocket('ws+unix://' + process.argv[2] + ':/rpc', ['hub.jsonrpc.v1'], { headers });
const client = jayson.Client.websocket({ ws });

function ask(method, params, id) {
  return new Promise((resolve, reject) => {
    client.request(method, params, id, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

ws.on('open', async () => {
  const seen = {};
  const hello = await ask('hub.hello', { client: { name: 'jayson' }, protocol: [1] });
  seen.role = hello.result.role;
  seen.id = (await ask('provider.list', {}, 'a string')).id;
  seen.positional = (await ask('campaign.get', ['nope'])).error.data.code;
  seen.unknown = (await ask('no.such', {})).error.code;
  seen.invalid = (await ask('campaign.get', { nam: 'x' })).error.code;
  const batch = [
    client.request('hub.status', {}, 'one', false),
    client.request('hub.status', {}, null, false), // a notification
    client.request('no.such', {}, 'two', false),
  ];
  seen.batch = await new Promise((resolve, reject) => {
    client.request(batch, (error, answers) => {
      if (error) return reject(error);
      resolve(answers.map((answer) => [answer.id, answer.error ? answer.error.code : 'ok']));
    });
  });
  console.log(JSON.stringify(seen));
  ws.close(1000);
});
ws.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
