"""What servers say in plain words when a refusal is the recipient's own: no such mailbox, disabled, full.

Many servers send no enhanced status code (RFC 3463) with it, or a general one. Text about us, the sender,
the message or a policy takes precedence: such a refusal would be the same for every recipient.

Sources: the source code and the documents of the servers that are named in `tests/core/test_recipient_texts`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Addresses in a reply are ignored: "spam@example.com" says nothing about spam.
_ADDRESS = re.compile(r"[^\s<>\"'()\[\]:;,]+@[^\s<>\"'()\[\]:;,]+")

#: Enhanced codes that say less than the text: "other", and those that servers send for any refusal. Exchange
#: Online says 5.4.1 where directory-based blocking finds no such recipient.
GENERAL_CODES = frozenset(
    {"", "5.0.0", "5.1.0", "5.2.0", "5.3.0", "5.4.0", "5.4.1", "5.4.4", "5.4.6", "5.5.0", "5.5.1", "5.5.4"}
)


def _any(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_ABOUT_US = _any(
    (
        r"\bspam|\bjunk\b|unsolicited|\bbulk\b|\bvirus|malware|phish",
        r"black ?-?list|block ?-?list|deny ?-?list|\b[dr][nu]?s?bl\b",
        r"spamhaus|spamcop|barracuda|sorbs|reputation",
        r"\bblocked\b|\bblocking\b|\bbanned\b|blacklisted|\bblacklist",
        r"\brelaying\b|\bto relay\b|open ?relay|relay (is )?(not|denied|access|prohibited)|denied relay",
        r"authenticat|authoriz|authoris|\blog ?in\b|credential",
        r"\bsender\b|mail from\b|return ?-?path|envelope from|\bfrom address",
        r"\bpolic(y|ies)\b|\b(spf|dkim|dmarc|arc|ptr|rdns|helo|ehlo)\b|reverse dns|\bip address\b",
        r"\bclient (host|ip|address)|your (ip|host|server|network|domain|mail server)|\bremote ?host\b",
        r"\brate\b|too (many|much|fast)|frequen(cy|tly)|throttl",
        r"(message|sending|hourly|daily|recipient) limit",
        r"\bcontent\b|attachment|\bmessage (was )?(rejected|refused)|not (allowed|permitted) to send",
        r"rcpthosts|isn.t allowed|not allowed to use",
        r"gr[ae]y-?list|suspicious|abus(e|ive)|complain",
        r"\bbloqueado|liste noire|\babsender\b|expéditeur|remitente|remetente|发件人|垃圾邮件|黑名单",
    )
)

_WHO = (
    r"(user|mailbox|mail ?box|account|recipient|addressee|person|customer|alias|local ?part|rcpt|subscriber)"
)
_MAILBOX = r"(e-?mail )?(user|mailbox|mail ?box|account|recipient|address(ee)?|name)"

_UNKNOWN = _any(
    (
        rf"\bno(t)? such (local |e-?mail |mail |virtual )?({_WHO}|address|e-?mail|destination|drop)",
        rf"\b(unknown|non-?existent|unrecogni[sz]ed)( or (illegal|inactive|disabled|invalid))?"
        rf" (local |virtual |e-?mail |mail |final )?(or \w+ )?({_WHO}|address|e-?mail|destination)",
        rf"\b({_WHO}|address(es)?|e-?mail|destination)s? (name )?(is |was |are )?"
        r"(unknown|not known|unrecogni[sz]ed|nonexistent|non-existent)",
        rf"\b({_WHO}|address|e-?mail|name)\b.{{0,80}}\b(does ?n[o']t|do not|doesn.t|not|no longer) exists?\b",
        rf"\b({_WHO}|address|e-?mail( name)?)\b.{{0,80}}\b(not|cannot)( be)? (found|located|exist)",
        r"\bdoes ?n[o']t exist|\bdoesn.t exist\b|\bdoes no exist",
        rf"\b({_WHO}|address)\b.{{0,40}}\b(is |are )?not (a )?"
        r"(known|valid|local|registered|listed|hosted|our)\b",
        rf"\bnot (a |an )?(known|valid|registered|local|our|existing) ({_WHO}|address|e-?mail)",
        r"\bnot (our|a) customer\b|\bnot user of this server",
        rf"\bno {_MAILBOX} (here )?by that name|\bno {_MAILBOX} (found|available|with (that|this))",
        r"\bno one (with|at) that\b|\bthere is no one at this address",
        r"user (doesn.t|does not) have an? .{0,40}account|does not have an? (account|mailbox)|has no mailbox",
        r"\b(invalid|bad|incorrect|wrong|illegal) (or (unknown|inactive) )?"
        r"(virtual |local |destination |e-?mail |final )*"
        r"(user|mailbox|recipients?|rcpt|account|local ?part|address|alias)\b",
        r"\baddress (is )?(invalid|not valid|wrong)|\brecipient (is )?(invalid|not valid)",
        r"\bunrout(e)?able (mail )?(domain|address)|\bundeliverable address",
        r"\bmailbox (is )?(currently )?(not present|invalid)\b|\bunavailable mail ?user",
        r"\bbadrcptto\b|\brecipnotfound\b|\brecipientnotfound\b|RESOLVER\.ADR",
        r"no account by that name|can.t accept user|no mail ?drop|not in (the )?(name )?directory",
        # German, French, Spanish, Italian, Portuguese, Polish, Chinese servers
        r"(empf(ä|ae)nger|benutzer|postfach|adresse)\b.{0,40}"
        r"(unbekannt|existiert nicht|nicht (gefunden|bekannt|vorhanden))",
        r"unbekannter (empf(ä|ae)nger|benutzer)",
        r"(adresse|destinataire|utilisateur|compte|bo[iî]te)\b.{0,60}"
        r"(invalide|inconnue?|inexistante?|n.existe (pas|plus))",
        r"(usuario|buz[oó]n|destinatario|cuenta|direcci[oó]n)\b.{0,40}"
        r"(no existe|desconocid[oa]|inexistente|inv[aá]lid[oa])"
        r"|no existe (dicha persona|ese usuario|el usuario)",
        r"(destinatario|utente|indirizzo|casella)\b.{0,40}(sconosciut[oa]|inesistente|non esiste|errato)",
        r"(usu[aá]rio|destinat[aá]rio|caixa|conta|endere[cç]o)\b.{0,40}"
        r"(n[aã]o existe|desconhecid[oa]|inexistente|inv[aá]lid[oa])",
        r"nie istnieje|nie ma takiego konta",
        r"(用户|邮箱|收件人|地址|帐号|账号).{0,10}(不存在|未找到|无效)|不存在的?(用户|邮箱|收件人)|无此用户",
    )
)

_DISABLED = _any(
    (
        rf"\b{_MAILBOX}\b.{{0,60}}\b(is |has been |was |temporarily |currently )*"
        r"(disabled|inactive|deactivated|suspended|closed|expired|locked|terminated|discontinued)",
        r"\b(disabled|inactive|deactivated|suspended|closed|expired|locked|dormant) (e-?mail |user )?"
        r"(user|mailbox|account|recipient|address)",
        rf"\b({_WHO}|address)\b.{{0,40}}no longer (accepts|receives|active|available|in use)"
        r"|\bno longer (accepts|receives) (e-?)?mail",
        r"\b(user|account|recipient) (is )?not active|user hangup|recipient suspend the service",
        r"invalid/inactive user|account unavailable",
        r"(postfach|konto)\b.{0,40}(deaktiviert|gesperrt|inaktiv)",
        r"(compte|bo[iî]te)\b.{0,40}(d[eé]sactiv[eé]e?|suspendue?)",
        r"(cuenta|buz[oó]n|conta|caixa)\b.{0,40}"
        r"(desactivad[oa]|desativad[oa]|inactiv[oa]|inativ[oa]|suspendid[oa]|suspens[oa])",
    )
)

_FULL = _any(
    (
        rf"\b({_MAILBOX}|mail ?folder|maildir|inbox)\b.{{0,60}}\b(is |are )?full\b|\bfull mailbox",
        # "exceeded storage allocation" is what RFC 5321 has for any 552, also for a large message.
        r"\bover ?-?quota\b|\b(over|exceed(s|ed|ing)?)\b(?! storage allocation).{0,40}"
        r"\b(quota|storage|disk space|allowed space)",
        r"\bquota\b.{0,40}\b(exceeded|full|reached|violation)",
        r"mailbox size limit exceeded|not enough (storage )?space|space has been used up",
        r"(postfach|mailbox)\b.{0,20}(ist )?voll|bo[iî]te .{0,40}pleine|buz[oó]n .{0,20}lleno",
        r"caixa .{0,20}cheia|casella .{0,20}piena|邮箱.{0,6}(已满|空间不足)|容量.{0,4}满",
    )
)


#: About the address, without saying what is wrong: some servers say only this if it does not exist, others
#: if they do not want this mail.
_REJECTED = _any(
    (
        r"\bmailbox (is )?(currently )?(unavailable|not available)",
        r"\baddress(es)? (was |were )?rejected",
        r"\brecipients?( address(es)?)? (was |were |is )?(rejected|refused)",
        r"\b(rejected|refused) (all )?recipients?\b|\bno valid recipients\b",
    )
)
#: So plain that even a policy code (5.7.x) does not override it.
_PLAINEST = _any(
    (
        rf"\b(no such|unknown) {_WHO}|\b{_WHO} (is )?(unknown|not found)",
        r"\b(user|mailbox|account) does not exist",
        r"\b(mailbox|account) (is )?disabled",
    )
)


def about_us(text: str) -> bool:
    """Whether a refusal speaks of the sender, its server, the message or a policy."""
    return _ABOUT_US.search(_ADDRESS.sub(" ", text)) is not None


def recipients_own(text: str, enhanced: str = "") -> str:
    """The reason if a permanent refusal plainly concerns the recipient; "" if it does not.

    "mailbox_full", "mailbox_disabled", "mailbox_unknown" or, if it only rejects the address,
    "address_rejected". `enhanced` is the enhanced status code of the reply: the text refines a general
    one, and a policy code only if the text is entirely plain.
    """
    words = _ADDRESS.sub(" ", text)
    if _ABOUT_US.search(words):
        return ""
    if enhanced not in GENERAL_CODES and not (enhanced.startswith("5.7.") and _PLAINEST.search(words)):
        return ""
    for reason, pattern in (
        ("mailbox_full", _FULL),
        ("mailbox_disabled", _DISABLED),
        ("mailbox_unknown", _UNKNOWN),
        ("address_rejected", _REJECTED),
    ):
        if pattern.search(words):
            return reason
    return ""
