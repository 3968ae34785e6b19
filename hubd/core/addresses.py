"""Email addresses and phone numbers: the one form they are kept in, or the reason why they are none.

What is refused here never reaches the database. Problems say what is wrong in a sentence that fits a table of
bad rows; they never quote an address.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import email_validator
import phonenumbers
from phonenumbers import PhoneNumberType

from hubd.errors import BadInput

_LONGEST_EMAIL = 254  #: bytes of a forward path without its angle brackets (RFC 5321 4.5.3.1.3)
_LONGEST_LOCAL = 64  #: bytes (RFC 5321 4.5.3.1.1)
_LONGEST_NAME = 240  #: bytes of a display name, so that the header line stays below 998
_LONGEST_PHONE = 40  #: characters with all the spaces and brackets people put in

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#: The shapes that nearly every address has. email-validator judges the rest, and takes fifty times as long.
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+[A-Za-z]{{2,63}}")
#: Names that never have a mail exchanger (RFC 6761, RFC 7686, RFC 3172). `.test`, `.example`, `.invalid` and
#: `.local` are let through: people rehearse with them, and offices do use `.local`.
_NEVER_MAIL = (".localhost", ".arpa", ".onion")

#: What looks like an address, to find several in one cell; a port or a path may follow.
_ADDRESSES = re.compile(r"[^\s@,;|<>()]+@[^\s@,;|<>()]+\.[^\s@,;|<>()]+")
_SPELLED_AT = re.compile(r"[(\[{ ]at[)\]} ]", re.IGNORECASE)
_IP_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")

_PHONE = re.compile("\\+?[0-9() ./\u00a0\u2010\u2011\u2013-]+")  # with the dashes and spaces of spreadsheets
#: Numbers that a spreadsheet kept as a float: `1701234567.0`, `4.4E+11`. Other separators are not that late.
_FLOAT = re.compile(r"(\+?[0-9]{7,})[.,]([0-9]+)")
_FLOAT_END = re.compile("(\\+?[0-9() /\u00a0-]{7,})[.,]0")
_MOST_DECIMALS = 4  #: more digits are the second half of a number
_ROUNDED = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+")
_AROUND_PHONE = " \t\u00a0'\"="  #: with what marks a cell as text: '0151 234, ="0151 234"
_TEXTABLE = {
    PhoneNumberType.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE,
    PhoneNumberType.VOIP,
    PhoneNumberType.PERSONAL_NUMBER,
}
_PHONE_KIND = {
    PhoneNumberType.FIXED_LINE: "a landline",
    PhoneNumberType.TOLL_FREE: "a toll-free number",
    PhoneNumberType.PREMIUM_RATE: "a premium-rate number",
    PhoneNumberType.SHARED_COST: "a shared-cost number",
    PhoneNumberType.PAGER: "a pager",
    PhoneNumberType.UAN: "a company's access number",
    PhoneNumberType.VOICEMAIL: "a voicemail access number",
}
#: What stands between two numbers in one cell, and how many digits either has at least.
_BETWEEN_PHONES = re.compile(r"[,;|\n]|(?<=[^\s+])\s*/?\s*(?=\+)|\s(?:or|oder|and|und|&)\s", re.IGNORECASE)
_LEAST_DIGITS = 6
_PARSING = {
    phonenumbers.NumberParseException.INVALID_COUNTRY_CODE: "no country has that country code",
    phonenumbers.NumberParseException.TOO_LONG: "it is too long",
}
_LENGTH = {
    phonenumbers.ValidationResult.TOO_SHORT: "it is too short for that country",
    phonenumbers.ValidationResult.TOO_LONG: "it is too long for that country",
}
_ATOMS = re.compile(r"[\w!#$%&'*+/=?^`{|}~ -]*")  # a display name that needs no quotes (RFC 5322 3.2.3)
_SENDER_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")  # E.164, or a short code
#: A name: 3GPP TS 23.040 9.1.2.5, with the characters that Twilio takes (its AlphaSender resource).
_SENDER_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}")


def email_address(text: str) -> tuple[str, str]:
    """The address to send to and the key to compare by.

    The key folds case in both parts: no provider in use tells `Ann@` from `ann@`, and who unsubscribed must
    not be reached by another spelling. Raises BadInput at "email".
    """
    text = text.strip(" \t\u00a0")
    local, _, name = text.rpartition("@")
    domain = _plain_domain(name) if len(text) <= _LONGEST_EMAIL else ""
    if not domain or _LOCAL.fullmatch(local) is None:
        local, domain = _unusual_email(text)
    elif len(local) > _LONGEST_LOCAL:
        raise _not_email("the part before the @ is longer than 64 characters")
    if domain.endswith(_NEVER_MAIL):
        raise _not_email("no mail can be sent to that domain")
    address = f"{local}@{domain}"
    return address, address.casefold()


@lru_cache(maxsize=4096)  # many people have their address with few providers
def _plain_domain(text: str) -> str:
    """A domain of the plain shape in lower case; "" for any other, and for what is no domain."""
    return text.lower() if "--" not in text and _DOMAIN.fullmatch(text) else ""


def _unusual_email(text: str) -> tuple[str, str]:
    """Local part and ASCII domain of an address that is not of the plain shape, or the reason it is none."""
    if problem := _email_shape_problem(text):
        raise _not_email(problem)
    try:
        found = email_validator.validate_email(
            text, strict=True, check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except email_validator.EmailNotValidError as error:
        raise _not_email(_in_our_words(str(error))) from None
    except (ValueError, IndexError):  # the idna package under it, on inputs made to break it
        raise _not_email("the domain cannot be used") from None
    domain = found.ascii_domain.lower()
    if "." not in domain:
        raise _not_email("no dot in the domain")
    return text.rpartition("@")[0], domain


def _email_shape_problem(text: str) -> str:
    """The mistakes people make, each with its own sentence; "" when the shape is worth a closer look."""
    if not text:
        return "it is empty"
    if len(text) > 1000:
        return "it is much too long"
    if len(_ADDRESSES.findall(text)) > 1:
        return "only one address per row; put a second one in a row of its own"
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for char in text):
        return "it contains an invisible or control character"
    if "<" in text or ">" in text:
        return "give only the part between < and >; put the name in another column"
    if text.startswith("=") and "(" in text:
        return "it is a formula; write the value that it shows"
    if text.lower().startswith("mailto:"):
        return 'leave out "mailto:"'
    if text[0] == text[-1] and text[0] in "'\"" and len(text) > 1:
        return "leave out the quotation marks around it"
    if text.startswith('"'):
        return "a quoted part before the @ is not supported"
    return _at_sign_problem(text) or _part_problem(*text.split("@"))


def _at_sign_problem(text: str) -> str:
    if "@" not in text:
        if "\N{FULLWIDTH COMMERCIAL AT}" in text:
            return "the @ is a full-width one; use an ordinary @"
        return "write @ in place of (at)" if _SPELLED_AT.search(text) else "no @ in it"
    if text.count("@") == 1:
        return ""
    if "@@" in text:
        return "two @ in a row"
    if text.startswith("@"):
        return "an @ at the start"
    return "an @ at the end" if text.endswith("@") else "more than one @ in it"


def _part_problem(local: str, domain: str) -> str:
    text = f"{local}@{domain}"
    if not local:
        return "nothing before the @"
    if not domain:
        return "nothing after the @"
    for mark, word in ((",", "comma"), (";", "semicolon")):
        if text.startswith(mark) or text.endswith(mark):
            return f"a {word} at the {'start' if text.startswith(mark) else 'end'}"
        if mark in text:
            return f"a {word} {'before' if mark in local else 'after'} the @; should it be a dot?"
    if any(char.isspace() for char in text):
        return "there is a space in it"
    if not local.isascii():
        return "letters before the @ that are not ASCII need SMTPUTF8, which few servers support"
    if domain.startswith("[") or _IP_ADDRESS.fullmatch(domain):
        return "an IP address after the @ is not supported; a domain name is needed"
    if domain.isascii() and "." not in domain:
        return "no dot in the domain"
    if len(local) > _LONGEST_LOCAL:
        return "the part before the @ is longer than 64 characters"
    return ""


#: email-validator's sentences are long and quote characters of the address; these fit a table of bad rows.
_SENTENCES = (
    ("too long after the @", "the domain is longer than 253 characters"),
    ("so many characters", "a part of the domain is longer than 63 characters"),
    ("too long", "it is longer than 254 characters"),
    ("period immediately after", "a dot right after the @"),
    ("cannot start with a period", "a dot at the start"),
    ("period immediately before", "a dot right before the @"),
    ("two periods", "two dots in a row"),
    ("before the @", "a character before the @ that is not allowed"),
    ("end with a period", "a dot at the end"),
    ("end with a", "a hyphen at the end of the domain"),
    ("hyphen", "a hyphen in the domain where none is allowed"),
    ("top-level domain", "the domain has no valid ending"),
    ("special-use", "no mail can be sent to that domain"),
    ("IDNA", "the domain is not a valid international name"),
    ("Punycode", "the domain is not a valid international name"),
    ("invalid characters", "a character in the domain that is not allowed"),
)


def _in_our_words(sentence: str) -> str:
    return next((ours for theirs, ours in _SENTENCES if theirs in sentence), "the domain is not valid")


def _not_email(problem: str) -> BadInput:
    return BadInput.at("email", f"not an email address: {problem}")


def mailbox(text: str) -> str:
    """An address with or without a name, in the spelling that RFC 5322 3.4 wants. Raises BadInput."""
    text = text.strip()
    name, bracket, rest = text.rpartition("<")
    if not bracket:
        return email_address(text)[0]
    address, closing, after = rest.partition(">")
    if not closing or after:
        raise BadInput('must be an address or a name and an address: "Acme <news@acme.example>"')
    address = email_address(address)[0]
    name = _unquoted(name.strip())
    if not name:
        return address
    if _ATOMS.fullmatch(name) is None:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        name = f'"{escaped}"'
    return f"{name} <{address}>"


def _unquoted(name: str) -> str:
    if len(name) >= 2 and name.startswith('"') and name.endswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    if any(char in name for char in "<>"):
        raise BadInput("the name before the address must not contain < or >")
    if len(name.encode()) > _LONGEST_NAME:
        raise BadInput("the name before the address is too long")
    return name


def phone_number(text: str, region: str | None = None, *, any_kind: bool = False) -> str:
    """The number in E.164 form (`+14155552671`).

    `region` is the two-letter country that numbers without a leading + belong to; without it they are
    refused, never guessed. Numbers that cannot receive texts are refused too, unless `any_kind` is set.
    Raises BadInput at "phone" or "region".
    """
    digits = text.strip(_AROUND_PHONE)
    if region is not None:
        region = check_region(region)
    if not digits:
        raise _not_phone("it is empty")
    if len(digits) > _LONGEST_PHONE:
        raise _not_phone("it is too long")
    if "." in digits or "," in digits or "E" in digits or "e" in digits:
        digits = _unfloated(digits)
    if _PHONE.fullmatch(digits) is None:
        raise _not_phone(_phone_shape_problem(digits))
    if not any(map(str.isdigit, digits)):
        raise _not_phone("no digit in it")
    if region is None and not digits.startswith("+"):
        if digits.startswith("00"):
            raise _not_phone("write + in place of 00 before the country code")
        raise _not_phone("no country code; write it as +14155552671 or give its region")
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException as error:
        raise _not_phone(_PARSING.get(error.error_type, "it is too short")) from None
    kind = phonenumbers.number_type(number)  # which takes as long as whether it is valid
    if kind not in _TEXTABLE and region is not None and (whole := _without_plus(digits, region)) is not None:
        return whole
    if kind == PhoneNumberType.UNKNOWN:
        possible = phonenumbers.is_possible_number_with_reason(number)
        raise _not_phone(_LENGTH.get(possible, "that country's numbering plan has no such number"))
    if kind not in _TEXTABLE and not any_kind:
        raise BadInput.at(
            "phone", f"{_PHONE_KIND.get(kind, 'a number of that kind')} cannot receive text messages"
        )
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _phone_shape_problem(text: str) -> str:
    if not any(map(str.isdigit, text)):
        return "no digit in it"
    if text.lower().startswith("tel:"):
        return 'leave out "tel:"'
    if any(unicodedata.category(char) in ("Cc", "Cf") for char in text):
        return "it contains an invisible or control character"
    counts = [sum(map(str.isdigit, part)) for part in _BETWEEN_PHONES.split(text)]
    if sum(count >= _LEAST_DIGITS for count in counts) > 1:
        return "only one number per row; put a second one in a row of its own"
    if any(map(str.isalpha, text)):
        return "use digits only; letters and extensions cannot be dialled"
    return "only digits, spaces and ( ) . / - with one + in front"


def _without_plus(digits: str, region: str) -> str | None:
    """The mobile number of that country that this is when only its plus sign is missing."""
    if not digits.startswith(str(phonenumbers.country_code_for_region(region))):
        return None
    try:
        number = phonenumbers.parse("+" + digits)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.number_type(number) not in _TEXTABLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _unfloated(text: str) -> str:
    """Without the decimals that a spreadsheet added. Raises BadInput when digits may be lost."""
    if _ROUNDED.fullmatch(text):
        raise _not_phone("a spreadsheet rounded it; format the column as text and export again")
    found = _FLOAT.fullmatch(text)
    if found and found[2].strip("0"):
        if len(found[2]) > _MOST_DECIMALS:
            return text
        raise _not_phone("it has decimals; format the column as text and export again")
    found = found or _FLOAT_END.fullmatch(text)
    return found[1] if found else text


def _not_phone(problem: str) -> BadInput:
    return BadInput.at("phone", f"not a phone number: {problem}")


def check_region(region: str) -> str:
    """A two-letter country code in capitals. Raises BadInput at "region"."""
    code = region.strip().upper()
    if code not in phonenumbers.SUPPORTED_REGIONS:
        raise BadInput.at("region", "not a two-letter country code such as US, DE or GB")
    return code


def sms_sender(text: str) -> str:
    """What a text may come from: an E.164 number, a short code, or a name. Raises BadInput at "sender"."""
    if _SENDER_NUMBER.fullmatch(text) or (_SENDER_NAME.fullmatch(text) and text == text.strip()):
        return text
    raise BadInput.at(
        "sender",
        "an SMS comes from a number such as +15005550006, a short code, or a name: up to 11 letters, digits, "
        "spaces and + - _ &, with at least one letter",
    )
