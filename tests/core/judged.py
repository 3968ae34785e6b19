"""Answers in the words of the tables, and what is judged of them."""

from __future__ import annotations

from hypothesis import strategies as st

from hubd.core.model import Answer, Channel, Signal, Stage
from hubd.core.verdict import Action, Verdict, judge
from hubd.core.verdict_tables import SMTP
from hubd.providers.twilio.verdicts import VERDICTS as TWILIO

A = Action
ACCEPT, RETRY, FAIL, SUPPRESS, DOUBT = A.ACCEPT, A.RETRY, A.FAIL, A.SUPPRESS, A.DOUBT
PAUSE, PROVIDER, STOP, SLOW, DOMAIN = A.PAUSE, A.PROVIDER, A.PROVIDER_STOP, A.SLOW, A.DOMAIN
SMTP_STAGES = list(SMTP)
FOUR_HOURS = 4 * 3600.0
BEFORE_MAIL = ["connect", "tls", "banner", "ehlo", "auth"]
SILENCES = ["dropped", "timeout", "garbage"]


def smtp(stage: str, said: str, text: str = "") -> Verdict:
    """Judge "550 5.1.1", "421" or "dropped"."""
    if said in SILENCES:
        return judge(Answer(stage=Stage(stage), signal=Signal(said), text=text), Channel.EMAIL)
    code, _, enhanced = said.partition(" ")
    return judge(Answer(stage=Stage(stage), code=int(code), enhanced=enhanced, text=text), Channel.EMAIL)


def sms(http: int, vendor: str = "", sid: str = "", signal: Signal = Signal.REPLY) -> Verdict:
    return judge(
        Answer(stage=Stage.REQUEST, signal=signal, code=http, vendor=vendor, provider_id=sid),
        Channel.SMS,
        requests=TWILIO,
    )


codes = st.one_of(
    st.integers(-1, 1000), st.sampled_from([250, 354, 421, 450, 452, 454, 503, 535, 550, 552, 556])
)
enhanced = st.one_of(
    st.just(""),
    st.builds("{}.{}.{}".format, st.integers(2, 5), st.integers(0, 9), st.integers(0, 30)),
    st.text(max_size=8),
)
answers = st.builds(
    Answer,
    stage=st.sampled_from(Stage),
    signal=st.sampled_from(Signal),
    code=codes,
    enhanced=enhanced,
    vendor=st.one_of(st.just(""), st.sampled_from(sorted(TWILIO.words)), st.text(max_size=5)),
    text=st.one_of(st.text(max_size=40), st.sampled_from(["certificate", "STARTTLS", "Throttling failure"])),
    provider_id=st.sampled_from(["", "SM1"]),
    retry_after=st.one_of(st.none(), st.floats()),
)
