"""From the settings of an account to a service that can be asked."""

from __future__ import annotations

import time

from hubd.providers.aws.connection import Service
from hubd.providers.aws.credentials import ChainKeys, GivenKeys, KeySource
from hubd.providers.aws.settings import AwsConfig
from hubd.providers.kind import Opening
from hubd.transports.http_wire import Endpoint

CONNECT_TIMEOUT = 10.0  #: seconds for the connection, and again for its TLS handshake
TIMEOUT = 60.0  #: seconds from the first byte of a request to the end of the answer


def open_service(
    config: AwsConfig,
    opening: Opening,
    name: str,
    *,
    host: str = "",
    endpoint_url: str = "",
    region: str = "",
    timeout: float = TIMEOUT,
) -> Service:
    """A service of AWS: `name` is what signatures call it, `host` what its addresses begin with.

    `endpoint_url` overrides the address that follows from the host and the region. Raises `BadConfig`.
    """
    region = region or config.region
    ends = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    url = endpoint_url or f"https://{host or name}.{region}.{ends}"
    return Service(
        name=name,
        region=region,
        endpoint=Endpoint(url, connect_timeout=CONNECT_TIMEOUT, timeout=timeout),
        keys=_keys(config, opening),
        now=time.time,
    )


def _keys(config: AwsConfig, opening: Opening) -> KeySource:
    if config.access_key_id:
        return GivenKeys(config.access_key_id, opening.secrets["secret_access_key"])
    return ChainKeys()
