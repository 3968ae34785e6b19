"""Plain words of real servers: which refusals are the recipient's own, and which are about us."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.model import Answer, Channel, Stage
from hubd.core.recipient_texts import about_us, recipients_own
from hubd.core.verdict import Action, Verdict, is_systemic, judge

_REPLY = re.compile(r"(\d{3})[ -](?:#?(5\.\d\.\d{1,3}) )?(.*)", re.DOTALL)

UNKNOWN = [
    # Postfix, and what is built on it (Zimbra, Mailcow, iRedMail)
    "550 5.1.0 <a@b.example>: Recipient address rejected: User unknown in local recipient table",
    "550 <a@b.example>: Recipient address rejected: User unknown in virtual mailbox table",
    "550 <a@b.example>: Recipient address rejected: User unknown in virtual alias table",
    "550 <a@b.example>: Recipient address rejected: User unknown in relay recipient table",
    "550 5.1.0 <a@b.example>: Recipient address rejected: undeliverable address: unknown user: 'a'",
    "550 5.0.0 <a@b.example>: Recipient address rejected: User does not exist",
    # Exim, cPanel, DirectAdmin
    "550 No such user here",
    "550 No Such User Here",
    "550 No such recipient here",
    "550 Unknown user",
    "550 unknown local part in <a@b.example>",
    "550 Unrouteable address",
    "550 Unroutable address",
    "550 'a@b.example' no such user",
    # Sendmail
    "550 5.0.0 <a@b.example>... User unknown",
    "553 5.0.0 <a@b.example>... User unknown",
    "550 a@b.example... No such user",
    # qmail, vpopmail
    "550 sorry, no mailbox here by that name. (#5.1.1)",
    "550 sorry, no mailbox here by that name (#5.1.1 - chkuser)",
    "550 vdeliver: Invalid or unknown virtual user",
    "553 sorry, badrcptto (#5.1.1)",
    # Exchange, Exchange Online, Outlook.com
    "550 RESOLVER.ADR.RecipNotFound; not found",
    "501 5.5.4 Invalid Address",
    # Gmail, Yahoo, AOL, iCloud, Comcast
    "550 The email account that you tried to reach does not exist. Please try double-checking the address",
    "554 delivery error: dd This user doesn't have a yahoo.com account (a@yahoo.com) [-5] - mta1",
    "554 delivery error: dd Requested mail action aborted, mailbox not found",
    "552 1 Requested mail action aborted, mailbox not found",
    "550 5.0.0 mailbox not found",
    "550 Not our Customer",
    "550 Invalid recipient: <a@b.example>",
    # Courier, Dovecot, hMailServer, MDaemon, Haraka, PowerMTA, Domino, GroupWise, Kerio, CommuniGate
    "550 User unknown.",
    "550 5.0.0 <a@b.example> User doesn't exist: a@b.example",
    "550 5.5.0 User doesn't exist: a@b.example",
    "550 Unknown user a@b.example",
    "550 <a@b.example>, Recipient unknown",
    "550 a@b.example: Recipient unknown",
    "550 I cannot deliver mail for <a@b.example>: no such mailbox",
    "550 invalid recipient <a@b.example>",
    "550 a@b.example... No such user",
    "550 a@b.example User not listed in public Name & Address Book: no such person at this address",
    "550 5.0.0 no such recipient",
    "550 mailbox does not exist",
    "550 a@b.example is not a known user",
    "550 <a@b.example> is not a valid mailbox",
    "550 There is no one at this address",
    "550 user a@b.example was not found",
    "550 Requested action not taken: mailbox unavailable or not local",
    "550 Recipient not found",
    "550 Local User [a@b.example] not found.",
    "550 No mailbox found",
    "550 Rcpt <a@b.example> does not exist",
    "551 5.1.0 recipient is not exist",
    "550 This email address is wrong or no longer valid",
    "550 not user of this server",
    "550 5.7.1 User unknown",
    "550 5.7.1 No such user",
    "550 Bad destination mailbox address",
    # GMX, web.de, T-Online, freenet
    "550 Benutzer hier unbekannt / user unknown",
    "550 Unbekannter Empfänger",
    "550 Postfach existiert nicht",
    # mail.ru, Yandex, QQ, 163, Alibaba, Coremail
    "550 Message was not accepted -- invalid mailbox. Local mailbox a@b is unavailable: user not found",
    "550 No such user!",
    "550 5.0.0 No such user!",
    "550 Mailbox not found. http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000728",
    "550 User not found: a@163.example",
    "550 RCPT (a@b.example) unavailable mail user: RC:NE The email account does not exist.",
    "550 #2175041 unavailable mail user",
    "550 Invalid User: a@b.example",
    "550 邮箱不存在",
    "550 用户不存在",
    # Orange, Free, La Poste; Telefonica; Libero; UOL, Terra; o2.pl
    "550 5.1.0 Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_416",
    "550 Destinataire inconnu",
    "550 No existe el usuario",
    "550 El usuario no existe",
    "550 Destinatario sconosciuto o mailbox disattivata",
    "550 Usuário desconhecido",
    "550 Destinatário inexistente",
    "550 Nie ma takiego konta",
]  # fmt: skip
DISABLED = [
    "550 The email account that you tried to reach is disabled.",
    "554 30 Sorry, your message to a@yahoo.com cannot be delivered. This mailbox is disabled (554.30).",
    "550 Account disabled",
    "550 account inactive",
    "550 This account is inactive",
    "550 User suspended",
    "550 5.0.0 mailbox is disabled",
    "550 Mailbox has been deactivated",
    "550 This account has been disabled or discontinued",
    "550 invalid/inactive user",
    "550 This address no longer accepts mail",
    "550 user is locked",
    "550 Mailbox is inactive",
    "550 5.7.1 mailbox disabled",
    "550 Cuenta desactivada",
    "550 Compte désactivé",
]
FULL = [
    "552 a@b.example: Mailbox full",
    "550 Mailbox is full",
    "552 Mailbox quota exceeded",
    "550 a@b.example is over quota",
    "554 The user you are trying to reach is over quota",
    "552 Requested mail action aborted: user over quota",
    "550 5.5.0 mailbox size limit exceeded",
    "550 Quota exceeded (mailbox for user is full)",
    "550 Account is exceeding their quota",
    "550 Postfach ist voll",
    "550 邮箱已满",
]
REJECTED = [
    "554 <a@b.example>: Recipient address rejected: Access denied",
    "550 5.4.1 Recipient address rejected: Access denied. [CO1NAM11FT038.eop-nam11.prod.outlook.com]",
    "550 5.4.1 [a@b.example]: Recipient address rejected: Access denied",
    "550 5.4.1 All recipient addresses rejected : Access denied [AM5EUR02FT038.mail.protection.outlook.com]",
    "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302)",
    "550 Requested action not taken: mailbox unavailable",
    "550 recipient rejected",
    "550 RCPT TO: a@b.example recipient rejected",
    "550 5.1.0 Address rejected.",
    "550 #5.1.0 Address rejected.",
    "550 Requested action not taken: mailbox unavailable For explanation visit https://postmaster.gmx.net",
]
ABOUT_US = [
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    "550 Blocked by zen.spamhaus.org",
    "550 Your IP 192.0.2.1 is blacklisted",
    "550 This message was classified as SPAM",
    "554 <a@b.example>: Relay access denied",
    "550 5.7.1 Unable to relay for a@b.example",
    "550 Relaying denied",
    "550 relay not permitted",
    "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    "550 5.7.1 Relaying denied. Proper authentication required.",
    "550 Authentication is required for relay",
    "550 Sender address rejected: User unknown in local recipient table",
    "550 5.1.0 <us@a.example>: Sender address rejected: Domain not found",
    "550 Sender verify failed",
    "550 SPF check failed: mailbox unavailable",
    "550 5.7.1 rejected by DMARC policy",
    "550 rejected because of policy: recipient refused",
    "554 5.7.1 <a@b.example>: Recipient address rejected: Access denied",
    "550 too many recipients",
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. You are on our block list (S3140).",
    "550 5.7.1 Client does not have permissions to send as this sender",
    "550 no such user here; your host is blocked",
    "550 Connection frequency limited",
    "554 Transaction failed",
    "550 no",
    "550 Go away",
    "550 Access denied",
    "550 Administrative prohibition",
    "550 Mail rejected",
]


def at(said: str, stage: Stage = Stage.RCPT) -> Verdict:
    match = _REPLY.fullmatch(said)
    assert match is not None, said
    answer = Answer(stage=stage, code=int(match[1]), enhanced=match[2] or "", text=match[3])
    return judge(answer, Channel.EMAIL)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        *((said, "mailbox_unknown") for said in UNKNOWN),
        *((said, "mailbox_disabled") for said in DISABLED),
        *((said, "mailbox_full") for said in FULL),
    ],
)
def test_plain_words_about_the_recipient_fail_that_recipient_alone(said: str, reason: str) -> None:
    verdict = at(said)
    assert (verdict.action, verdict.reason) == (Action.FAIL, reason)
    assert not is_systemic(verdict.reason)


@pytest.mark.parametrize("said", REJECTED)
def test_a_rejected_address_is_mostly_the_recipients_own(said: str) -> None:
    """See `test_systemic_failure`: it pauses a campaign only when nobody else is accepted."""
    verdict = at(said)
    assert (verdict.action, verdict.reason) == (Action.FAIL, "address_rejected")


@pytest.mark.parametrize("said", ABOUT_US)
def test_words_about_us_stay_about_us(said: str) -> None:
    verdict = at(said)
    assert verdict.action is Action.FAIL
    assert is_systemic(verdict.reason), "many of them in a row pause the campaign"


@pytest.mark.parametrize("stage", [Stage.DATA, Stage.BODY, Stage.DOT])
def test_servers_that_speak_of_the_recipient_after_the_message_are_understood_too(stage: Stage) -> None:
    verdict = at(
        "554 delivery error: dd This user doesn't have a yahoo.com account (a@yahoo.com) [-5]", stage
    )
    assert (verdict.action, verdict.reason) == (Action.FAIL, "mailbox_unknown")
    assert verdict.close is (stage is Stage.BODY)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.BANNER, Stage.EHLO, Stage.AUTH])
def test_where_no_recipient_is_known_the_same_words_say_nothing_of_one(stage: Stage) -> None:
    assert at("550 User unknown", stage).reason == at("550 no", stage).reason


def test_a_message_that_is_too_large_is_no_full_mailbox() -> None:
    text = "Requested mail action aborted: exceeded storage allocation"
    assert at(f"552 {text}", Stage.DOT).reason == "message_too_large"
    assert at("552 mailbox full or message too large", Stage.DOT).reason == "message_too_large"
    assert at(f"552 {text}").reason == "storage_full"


def test_an_address_in_the_reply_says_nothing() -> None:
    assert recipients_own("<spam.policy@relaying.example>: User unknown") == "mailbox_unknown"
    assert recipients_own("no: unknown.user@no-such-user.example") == ""
    assert not about_us("blacklist@spamhaus.example: no")


@pytest.mark.parametrize("code", ["5.1.1", "5.2.1", "5.2.2", "5.7.26", "5.6.0"])
def test_an_enhanced_code_that_says_what_it_is_goes_before_the_words(code: str) -> None:
    text = "the mailbox is full" if code != "5.2.2" else "No such user"
    assert at(f"550 {code} {text}").reason == at(f"550 {code} x").reason


@given(st.text(max_size=300), st.sampled_from([400, 421, 450, 451, 452, 499]))
def test_words_never_make_a_refusal_for_now_one_for_good(text: str, code: int) -> None:
    for words in (text, f"User unknown {text}"):
        answer = Answer(stage=Stage.RCPT, code=code, text=words)
        assert judge(answer, Channel.EMAIL).action not in (Action.FAIL, Action.SUPPRESS, Action.ACCEPT)
