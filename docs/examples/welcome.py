"""A shop that welcomes its customers, without any package of MessageHub: websockets and jsonrpcclient.

pip install websockets jsonrpcclient
python welcome.py /run/user/1000/messagehub/control.sock ann@example.com
"""

import json
import sys
from itertools import count

from jsonrpcclient import Error, parse, request
from websockets.sync.client import unix_connect

ids = count(1)


def call(socket, method, **params):
    """One method. Its answer may come after notifications, so go by the id."""
    sent = request(method, params=params, id=next(ids))
    socket.send(json.dumps(sent))
    while True:
        answer = json.loads(socket.recv())
        if answer.get("id") == sent["id"]:
            break
    result = parse(answer)
    if isinstance(result, Error):
        sys.exit(f"{result.data['code']}: {result.message} {result.data['hint']}")
    return result.result


if len(sys.argv) != 3:
    sys.exit("usage: python welcome.py SOCKET ADDRESS")
path, customer = sys.argv[1:]
# The host in the address becomes the Host header; the daemon takes hubd.sock and nothing else.
with unix_connect(path, "ws://hubd.sock/rpc", subprotocols=["hub.jsonrpc.v1"]) as socket:
    call(socket, "hub.hello", client={"name": "shop"}, protocol=[1])
    sent = call(
        socket,
        "message.send",
        provider="outbox",
        to=customer,
        sender="Acme <hello@acme.example>",
        subject="Welcome",
        text="Welcome to Acme!\n",
        idempotency_key=f"welcome-{customer}",  # asked twice, it is sent once
    )
    print(f"queued as message {sent['delivery_id']}")
