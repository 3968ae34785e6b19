"""Signature Version 4: the examples that AWS publishes, and botocore's signature for any request."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from hubd.providers.aws.signing import Keys, Signer
from hubd.transports.http_protocol import Request

#: Of the test suite that AWS publishes for Signature Version 4.
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
KEYS = Keys(access_key_id="AKIDEXAMPLE", secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
HOST = "example.amazonaws.com"
FORM = ("Content-Type", "application/x-www-form-urlencoded")


def signature(request: Request, *, service: str = "service", host: str = HOST, keys: Keys = KEYS) -> str:
    signed = Signer(keys, region="us-east-1", service=service).sign(request, host, AT)
    return dict(signed.headers)["Authorization"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (  # get-vanilla
            Request(method="GET", target="/"),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (  # get-vanilla-query-order-key-case
            Request(method="GET", target="/?Param2=value2&Param1=value1"),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (  # normalize-path/get-relative, which is the same request
            Request(method="GET", target="/example/.."),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (  # post-vanilla
            Request(method="POST", target="/"),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (  # post-x-www-form-urlencoded
            Request(method="POST", target="/", headers=(FORM,), body=b"Param1=value1"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
)
def test_the_examples_of_aws_have_the_signatures_that_aws_gives(request_: Request, expected: str) -> None:
    assert signature(request_).endswith(f"Signature={expected}")


def test_the_example_of_the_documentation_has_the_signature_that_it_gives() -> None:
    request = Request(
        method="GET",
        target="/?Action=ListUsers&Version=2010-05-08",
        headers=(("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),),
    )
    assert signature(request, service="iam", host="iam.amazonaws.com") == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_a_day_has_its_own_key() -> None:
    signer = Signer(KEYS, region="us-east-1", service="service")
    request = Request(method="GET", target="/")
    days = [signer.sign(request, HOST, AT + day * 86_400) for day in (0, 1, 0)]
    assert days[0] == days[2] != days[1]
    fresh = Signer(KEYS, region="us-east-1", service="service").sign(request, HOST, AT + 86_400)
    assert days[1] == fresh


def test_no_secret_is_shown() -> None:
    keys = Keys(access_key_id="AKIDEXAMPLE", secret_access_key="do-not-show", session_token="nor-this")
    signed = Signer(keys, region="us-east-1", service="service").sign(
        Request(method="GET", target="/"), HOST, AT
    )
    assert "do-not-show" not in repr(keys) + repr(signed) + str(signed.headers)
    assert "nor-this" not in repr(keys) + repr(signed)


# --- the same as botocore's

WORDS = st.text("abcXYZ019-_.~ /%&=+:,@é", max_size=8)
NAMES = st.sampled_from(["Content-Type", "X-Amz-Target", "Accept", "X-Other", "x-amz-meta-b"])
HEADERS = st.lists(st.tuples(NAMES, st.text("abcXYZ 019;=/.", max_size=12)), unique_by=lambda h: h[0])


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    segments=st.lists(st.one_of(st.sampled_from([".", "..", ""]), WORDS), max_size=4),
    query=st.lists(st.tuples(WORDS, WORDS), max_size=4),
    headers=HEADERS,
    body=st.binary(max_size=40),
    token=st.sampled_from(["", "session-token"]),
    secret=st.text("abcXYZ/+019", min_size=1, max_size=40),
    at=st.integers(min_value=946_684_800, max_value=4_102_444_800),
    region=st.sampled_from(["eu-west-1", "us-east-1"]),
    service=st.sampled_from(["ses", "sns", "sqs"]),
)
def test_any_request_is_signed_as_botocore_signs_it(
    method: str,
    segments: list[str],
    query: list[tuple[str, str]],
    headers: list[tuple[str, str]],
    body: bytes,
    token: str,
    secret: str,
    at: int,
    region: str,
    service: str,
) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    target = path + "?" + "&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in query)
    target = target.removesuffix("?")
    request = Request(method=method, target=target, headers=tuple(headers), body=body)
    keys = Keys(access_key_id="AKIDEXAMPLE", secret_access_key=secret, session_token=token)
    ours = Signer(keys, region=region, service=service).sign(request, HOST, float(at))

    theirs = AWSRequest(method=method, url=f"https://{HOST}{target}", headers=dict(headers), data=body)
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    auth = SigV4Auth(Credentials("AKIDEXAMPLE", secret, token or None), service, region)
    theirs.context["timestamp"] = stamp
    theirs.headers["X-Amz-Date"] = stamp
    if token:
        theirs.headers["X-Amz-Security-Token"] = token
    signature = auth.signature(auth.string_to_sign(theirs, auth.canonical_request(theirs)), theirs)
    expected = f"SignedHeaders={auth.signed_headers(auth.headers_to_sign(theirs))}, Signature={signature}"
    assert dict(ours.headers)["Authorization"].endswith(expected)
