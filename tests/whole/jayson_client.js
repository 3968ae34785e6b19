// jayson over a websocket on a unix socket: it takes a ready socket of ws.
const WebSocket = require('ws');
const jayson = require('jayson/promise');

const [path, ...methods] = process.argv.slice(2);
const ws = new WebSocket(`ws+unix:${path}:/rpc`, ['hub.jsonrpc.v1'], { headers: { Host: 'hubd.sock' } });
const client = jayson.Client.websocket({ ws });

ws.on('open', async () => {
  await client.request('hub.hello', { client: { name: 'jayson' }, protocol: [1] });
  for (const method of methods) {
    const { result, error } = await client.request(method, {});
    console.log(JSON.stringify({ method, result, error }));
  }
  const batch = ['hub.status', 'no.such'].map((method) => client.request(method, {}, undefined, false));
  console.log(JSON.stringify(await client.request(batch)));
  ws.close();
});
