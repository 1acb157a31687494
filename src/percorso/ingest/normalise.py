"""One spelling for each identifier, so that the same customer is recognised however a sender writes it.

email: lower case, the domain in ASCII. phone: E.164. social: `network:handle`, the network in lower case, no `@`.
Any other kind: no white space around it, Unicode in NFC. What comes out goes in again unchanged.

Most addresses and numbers arrive plain, and a pattern tells that from what the full validators must look at: those
take fifty times as long. What the pattern accepts is exactly what they would give.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import email_validator
import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    ValidationResult,
)

# Internal mail (anna@crm.local) tells customers apart as well as any, whether or not the world can deliver to it.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_LONGEST_EMAIL: Final = 254
_LONGEST_PLAIN_EMAIL: Final = 65  # so that no label of the domain can be over 63
_LONGEST_PHONE: Final = 250
_MOST_PASSES: Final = 4
_REMEMBERED: Final = 16_384
_BEFORE_HANDLE: Final = "@" + "".join(filter(str.isspace, map(chr, range(0x3001))))

_Matcher = Callable[[str], re.Match[str] | None]

_plain_email: Final[_Matcher] = re.compile(
    r"""
    [a-z0-9_!#$%&'*+\-/=?^`{|}~]++ (?: \. [a-z0-9_!#$%&'*+\-/=?^`{|}~]++ )*+
    @
    [a-z0-9]++ (?: [.-] [a-z0-9]++ )*+      # no two hyphens in a row: the label may be an encoded one
    """,
    re.VERBOSE,
).fullmatch

_nothing: Final[_Matcher] = re.compile(r"(?!)").fullmatch
_unreadable: Final[_Matcher] = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
_PUNCTUATION: Final = re.compile(r"[ ()./-]")
_begins_number: Final[_Matcher] = re.compile(r"\+[0-9]*").fullmatch
_network: Final[_Matcher] = re.compile(r"[a-z0-9][a-z0-9._-]*+").fullmatch


def normalise(kind: str, value: str, region: str | None) -> str:
    """The one spelling of an identifier's value; `region` is the ISO 3166 country of phone numbers without `+`.

    Raises ValueError with a sentence that says what is wrong and never repeats the value, which is personal.
    """
    if kind == "email":
        if value.isascii() and len(value) <= _LONGEST_PLAIN_EMAIL and _plain_email(lowered := value.lower()):
            return lowered
        return _email(value.strip())
    if kind == "phone":
        return value if _plain_phone(value[:4])(value) else _phone(value.strip(), region)
    text = _text(value)
    return _social(text) if kind == "social" else text


def _text(value: str) -> str:
    text = value.strip()
    if not text:
        raise ValueError("The identifier is empty.")
    if text.isascii():
        if text.isprintable():
            return text
    else:
        text = unicodedata.normalize("NFC", text)
    if _unreadable(text):
        raise ValueError("The identifier contains control characters.")
    return text


def _social(text: str) -> str:
    network, _, handle = text.partition(":")
    network = network.rstrip().lower()
    handle = handle.lstrip(_BEFORE_HANDLE)
    if not _network(network) or not handle or handle.startswith("//"):
        raise ValueError("A social identifier is `network:handle`, such as `mastodon:anna`.")
    return f"{network}:{handle}"


@lru_cache(_REMEMBERED)
def _email(value: str) -> str:
    for _ in range(_MOST_PASSES):
        if not value:
            raise ValueError("The email address is empty.")
        if len(value) > _LONGEST_EMAIL:
            raise ValueError(f"An email address has at most {_LONGEST_EMAIL} characters.")
        if "@" not in value:
            raise ValueError("An email address must have an @-sign.")
        try:
            address = email_validator.validate_email(value, check_deliverability=False, globally_deliverable=False)
        except ValueError:
            raise ValueError("The email address has an invalid part before or after the @-sign.") from None
        lowered = unicodedata.normalize("NFC", f"{address.local_part.lower()}@{address.ascii_domain}")
        if lowered == value:
            return lowered
        value = lowered
    raise ValueError("The email address has no one spelling in lower case.")


@lru_cache(_REMEMBERED)
def _phone(value: str, region: str | None) -> str:
    # A number may carry its trunk prefix twice over; taking one off each time, the passes end where none is left.
    for _ in range(_MOST_PASSES):
        number = _parsed_phone(value, region)
        if number.extension:
            raise ValueError("The phone number has an extension, which E.164 cannot express: leave it out.")
        reason = phonenumbers.is_possible_number_with_reason(number)
        if reason == ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
            raise ValueError("The phone number lacks its area code.")
        if reason != ValidationResult.IS_POSSIBLE:
            raise ValueError("The phone number has too many or too few digits for its country.")
        international = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if international == value:
            return value
        value = international
    raise ValueError("The phone number begins with a trunk prefix repeated.")


def _parsed_phone(value: str, region: str | None) -> PhoneNumber:
    if not value:
        raise ValueError("The phone number is empty.")
    if len(value) > _LONGEST_PHONE:
        raise ValueError(f"A phone number has at most {_LONGEST_PHONE} characters.")
    try:
        return phonenumbers.parse(value, region)
    except NumberParseException as error:
        kind = error.error_type
    if kind != NumberParseException.INVALID_COUNTRY_CODE:
        raise ValueError("The phone number is not one.")
    if "+" in value:
        raise ValueError("The phone number begins with a country calling code that does not exist.")
    if region is None:
        raise ValueError("A phone number without + and country code needs PERCORSO_DEFAULT_REGION, which is unset.")
    raise ValueError(
        "A phone number without + and country code needs another PERCORSO_DEFAULT_REGION: no such country."
    )


@lru_cache(2048)
def _plain_phone(head: str) -> _Matcher:
    """What matches exactly the numbers that are E.164 already, among those whose first four characters are `head`."""
    for length in (2, 3, 4):
        code = head[1:length]
        if code.isascii() and code.isdecimal() and int(code) in COUNTRY_CODE_TO_REGION_CODE and head[0] == "+":
            return _plain_phone_of(int(code))
    return _nothing


@lru_cache(None)
def _plain_phone_of(code: int) -> _Matcher:
    """As `_plain_phone`, of a country calling code. It loads the country's numbering plan."""
    plan = PhoneMetadata.metadata_for_region_or_calling_code(code, COUNTRY_CODE_TO_REGION_CODE[code][0])
    if plan is None or plan.general_desc is None:
        return _nothing
    # A trunk prefix would be taken off. Some patterns for it also match nothing at all, which takes nothing off.
    prefix = rf"(?!(?:{plan.national_prefix_for_parsing})(?<!\+{code}))" if plan.national_prefix_for_parsing else ""
    lengths = set(plan.general_desc.possible_length) - set(plan.general_desc.possible_length_local_only)
    digits = "|".join(f"[0-9]{{{length}}}" for length in sorted(lengths))
    return re.compile(rf"\+{code}{prefix}(?:{digits})").fullmatch


def beginning(kind: str, value: str) -> str:
    """The beginning of an identifier's value, as values in normal form begin.

    Raises ValueError with a sentence where none can begin so; it never repeats the value, which may be personal.
    """
    text = _text(value)
    if kind == "email":
        return text.lower()
    if kind == "phone":
        digits = _PUNCTUATION.sub("", text)
        if not _begins_number(digits):
            raise ValueError("The beginning of a phone number is + and digits of its country code and number.")
        return digits
    if kind == "social":
        network, colon, handle = text.partition(":")
        return f"{network.rstrip().lower()}{colon}{handle.lstrip(_BEFORE_HANDLE)}"
    return text
