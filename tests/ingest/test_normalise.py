"""One spelling for each identifier: the same by the fast way as by the full one, and stable."""

import email_validator
import phonenumbers
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from percorso.ingest import normalise as module
from percorso.ingest.normalise import beginning, normalise

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
EXAMPLES = sorted(
    {
        phonenumbers.format_number(example_number, phonenumbers.PhoneNumberFormat.E164)
        for region in REGIONS
        for kind in phonenumbers.PhoneNumberType.values()
        if (example_number := phonenumbers.example_number_for_type(region, kind))
    }
    | {
        phonenumbers.format_number(example_number, phonenumbers.PhoneNumberFormat.E164)
        for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS
        if (example_number := phonenumbers.example_number_for_non_geo_entity(code))
    }
)

labels = st.from_regex(r"[A-Za-z0-9-]{1,12}", fullmatch=True) | st.sampled_from(
    [
        "xn--mnchen-3ya",
        "ab--c",
        "a--b",
        "-a",
        "a-",
        "a" * 63,
        "a" * 64,
        "local",
        "localhost",
        "test",
        "invalid",
        "1",
        "",
    ]
)
locals_ = st.from_regex(r"[A-Za-z0-9_!#$%&'*+/=?^`{|}~.-]{1,20}", fullmatch=True) | st.sampled_from(
    ["", "a.b", ".a", "a.", "a..b", "a" * 64, "a" * 65, "Info", '"a b"', "Anna Rossi <a"]
)
addresses = st.builds("{}@{}".format, locals_, st.lists(labels, min_size=1, max_size=5).map(".".join))
digits = st.text("0123456789", max_size=4)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """International numbers, most of them possible: examples with digits put in, taken out, and trunk zeros."""
    number = draw(st.sampled_from(EXAMPLES))
    at = draw(st.integers(1, min(5, len(number))))
    out = draw(st.integers(0, 2))
    return number[:at] + draw(digits) + number[at + out :]


def outcome(kind: str, value: str, region: str | None = None) -> str | None:
    try:
        return normalise(kind, value, region)
    except ValueError:
        return None


def full_email(value: str) -> str | None:
    try:
        address = email_validator.validate_email(value, check_deliverability=False, globally_deliverable=False)
    except email_validator.EmailNotValidError:
        return None
    return f"{address.local_part}@{address.ascii_domain}".lower()


def full_phone(value: str) -> str | None:
    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException:
        return None
    possible = phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if possible else None


@given(addresses)
@example("a@" + "b" * 63)
@example("a@" + "b" * 64)
@example("aa@" + "b" * 63)
@example("Anna.Rossi@Example.COM")
def test_an_ascii_address_is_what_the_full_validator_gives(address: str) -> None:
    assert outcome("email", address) == full_email(address)


@given(numbers())
def test_an_international_number_is_what_the_full_parser_gives(number: str) -> None:
    expected = full_phone(number)
    while expected is not None and expected != (again := full_phone(expected)):
        expected = again
    assert outcome("phone", number) == expected


def test_the_example_numbers_of_all_countries_are_taken_as_they_are() -> None:
    plain = [number for number in EXAMPLES if full_phone(number) == number]
    assert len(plain) > 0.9 * len(EXAMPLES)
    assert [normalise("phone", number, None) for number in plain] == plain


def test_most_numbers_of_the_world_take_the_fast_way() -> None:
    fast = [number for number in EXAMPLES if module._plain_phone(number[:4])(number)]  # noqa: SLF001 - the fast way
    assert len(fast) > 0.8 * len(EXAMPLES)


@given(
    st.sampled_from(["email", "phone", "whatsapp", "social", "crm_id", "x"]),
    addresses
    | numbers()
    | st.text()
    | st.text().map("net:{}".format)
    | st.builds("{}@{}.com".format, st.text(), st.text()),
    st.sampled_from([None, *REGIONS]),
)
def test_what_comes_out_goes_in_again_unchanged(kind: str, value: str, region: str | None) -> None:
    once = outcome(kind, value, region)
    assume(once is not None)
    assert once is not None
    assert outcome(kind, once, region) == once
    assert outcome(kind, once, None) == once
    once.encode()


@given(st.sampled_from(["email", "phone", "social", "crm_id"]), st.text().map("Zq7{}".format))
def test_a_refusal_never_repeats_the_value(kind: str, value: str) -> None:
    try:
        normalise(kind, value, None)
    except ValueError as refused:
        assert value not in str(refused)  # noqa: PT017 - most values are taken
        assert refused.__cause__ is None  # noqa: PT017 - as above
        assert refused.__context__ is None or refused.__suppress_context__  # noqa: PT017 - as above


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("anna@example.com", "anna@example.com"),
        (" Anna.Rossi+News@Example.COM\n", "anna.rossi+news@example.com"),
        ("anna@MÜNCHEN.de", "anna@xn--mnchen-3ya.de"),
        ("anna@xn--MNCHEN-3ya.de", "anna@xn--mnchen-3ya.de"),
        ("JÖRG@example.com", "jörg@example.com"),
        ("jo\u0308rg@example.com", "jörg@example.com"),
        ("user@corp.local", "user@corp.local"),
        ("user@localhost.localdomain", "user@localhost.localdomain"),
        ("root@localhost", "root@localhost"),
        ("a" * 65 + "@example.com", "a" * 65 + "@example.com"),
    ],
)
def test_an_email_address_is_in_lower_case_and_its_domain_in_ascii(written: str, kept: str) -> None:
    assert normalise("email", written, None) == kept


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("", "is empty"),
        ("anna", "must have an @-sign"),
        ("anna@", "invalid part"),
        ("anna@exa mple.com", "invalid part"),
        ("anna@ab--c.de", "invalid part"),
        ("Anna <anna@example.com>", "invalid part"),
        ("a@b@example.com", "invalid part"),
        ("anna@" + "a." * 125 + "com", "at most 254"),
    ],
)
def test_what_is_no_email_address_is_refused(written: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        normalise("email", written, None)


@pytest.mark.parametrize(
    ("written", "region", "kept"),
    [
        ("+39066982", None, "+39066982"),
        ("+39 06 6982", None, "+39066982"),
        ("06 6982", "IT", "+39066982"),
        ("0039 06 6982", "IT", "+39066982"),
        ("tel:+1-201-555-0123", None, "+12015550123"),
        ("(201) 555-0123", "US", "+12015550123"),
        ("+44 (0) 20 7031 3000", None, "+442070313000"),
        ("+49 0 0 30 1234567", None, "+49301234567"),
        ("+800 1234 5678", None, "+80012345678"),
        ("\uff0b39 \uff10\uff16 6982", None, "+39066982"),
        ("+78122345678", None, "+78122345678"),
    ],
)
def test_a_phone_number_is_in_e164(written: str, region: str | None, kept: str) -> None:
    assert normalise("phone", written, region) == kept


@pytest.mark.parametrize(
    ("written", "region", "sentence"),
    [
        (" ", None, "is empty"),
        ("06 6982", None, "PERCORSO_DEFAULT_REGION, which is unset"),
        ("06 6982", "XX", "another PERCORSO_DEFAULT_REGION"),
        ("+999 123456", None, "calling code that does not exist"),
        ("+39 06 6982 ext. 12", None, "has an extension"),
        ("tel:+39066982;ext=12", None, "has an extension"),
        ("555-0123", "US", "lacks its area code"),
        ("+49 00000 30 1234567", None, "trunk prefix repeated"),
        ("+39 06", None, "too many or too few digits"),
        ("+39" + "1" * 15, None, "too many or too few digits"),
        ("+39" + "1" * 300, None, "at most 250"),
        ("withheld", "IT", "is not one"),
        ("anna@example.com", "IT", "is not one"),
    ],
)
def test_what_is_no_phone_number_is_refused(written: str, region: str | None, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        normalise("phone", written, region)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Mastodon:@Anna@social.example", "mastodon:Anna@social.example"),
        (" X : @ anna ", "x:anna"),
        ("facebook:Anna Rossi", "facebook:Anna Rossi"),
        ("vk:id:7", "vk:id:7"),
    ],
)
def test_a_social_handle_keeps_its_case_and_loses_its_at_sign(written: str, kept: str) -> None:
    assert normalise("social", written, None) == kept


@pytest.mark.parametrize("written", ["anna", "@anna", "x:", "x:@ ", ":anna", "my net:anna", "https://x.example/anna"])
def test_a_social_identifier_without_network_or_handle_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="network:handle"):
        normalise("social", written, None)


@pytest.mark.parametrize("kind", ["customer_id", "crm_id", "whatsapp", "tax_id", "cookie_id", "anything_else"])
def test_any_other_identifier_is_trimmed_and_keeps_its_case(kind: str) -> None:
    assert normalise(kind, "\t C-17 a\u00a0", None) == "C-17 a"
    assert normalise(kind, "Jose\u0301", None) == "Jos\u00e9"


@pytest.mark.parametrize("written", ["a\x00b", "a\nb", "a\x7f", "é\x00", "a\x85b", "a\ud800"])
def test_control_characters_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        normalise("crm_id", written, None)


@pytest.mark.parametrize("written", ["", "  ", "\u3000\n"])
def test_an_empty_identifier_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is empty"):
        normalise("crm_id", written, None)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("email", " Anna@Ex", "anna@ex"),
        ("phone", "+39 (06) 69-8", "+3906698"),
        ("phone", "+", "+"),
        ("social", "Mastodon : @an", "mastodon:an"),
        ("social", "Masto", "masto"),
        ("crm_id", " C-1", "C-1"),
        ("crm_id", "e\u0301", "\u00e9"),
    ],
)
def test_the_beginning_of_an_identifier_is_as_its_normal_form_begins(kind: str, given: str, expected: str) -> None:
    assert beginning(kind, given) == expected


@pytest.mark.parametrize(("kind", "given"), [("email", " "), ("phone", "06"), ("phone", "+39x"), ("crm_id", "a\nb")])
def test_what_no_identifier_begins_with_is_refused_without_repeating_it(kind: str, given: str) -> None:
    with pytest.raises(ValueError, match=r"^The .*\.$") as raised:
        beginning(kind, given)
    assert given.strip() not in str(raised.value) or not given.strip()
