"""The events that are sent: rich ones of some 800 bytes, cheap to make, the same number always giving the same event.

Customers come from a population and return; most are known by one identifier, some by two or three. There are 300
touchpoints, and the moments are spread over the last 90 days, unless more or fewer are asked for.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

POPULATION: Final = 100_000
TOUCHPOINTS: Final = 300
DAYS: Final = 90
LIVE_DAYS: Final = 1 / 24
"""The time over which events are spread that are sent as they happen."""

_MOMENTS: Final = 4096
_MASK: Final = (1 << 64) - 1

_COMMON: Final = (
    b'{"source":"%b","id":"%012d","occurred_at":"%b.%03dZ","channel":"%b","kind":"%b","touchpoint":"%b/%03d",'
    b'"direction":"%b","function":"%b","customer":{%b},"language":"it","conversation":"conv-%08d",'
    b'"status":"completed",%b}'
)
_TRACKED: Final = (
    b'{"type":"track","messageId":"%012d","timestamp":"%b.%03dZ","event":"%b",%b,"properties":{"touchpoint":"%b/%03d",'
    b'"direction":"%b","function":"%b","conversation":"conv-%08d",%b}}'
)
_CALL: Final = (
    b'"agent":"agent-117","outcome":"answered","resolution":"resolved",'
    b'"sentiment":{"score":0.31,"label":"positive","source":"call-model"},"topics":["billing","contract","tariff"],'
    b'"text":"Il cliente chiede perch\xc3\xa9 la bolletta di marzo \xc3\xa8 pi\xc3\xb9 alta; spiegato il conguaglio, '
    b'inviato il riepilogo.","details":{"duration_seconds":312,"wait_seconds":41,'
    b'"queue":"support","ivr_path":["1","3","2"],"from_number":"+39066982","answered_by":"agent-117"},'
    b'"feedback":[{"metric":"csat","score":4,"min":1,"max":5}],"attributes":{"team":"north","recorded":true}'
)
_CHAT: Final = (
    b'"agent":"agent-031","resolution":"follow_up","topics":["delivery","washing-machine"],'
    b'"text":"Buongiorno, la consegna prevista per gioved\xc3\xac non \xc3\xa8 arrivata. Potete cambiare '
    b'la fascia oraria?","details":{"platform":"chatter","message_count":18,'
    b'"bot":false,"first_response_seconds":12,"duration_seconds":540,"page_url":"https://shop.example/ordini/10023",'
    b'"transcript_url":"https://chat.example/t/5510"},"sentiment":{"score":-0.2,"label":"negative",'
    b'"source":"text-model"},"attributes":{"widget":"orders","experiment":"b","visits":7,"returning":true}'
)
_PAGE: Final = (
    b'"directness":"indirect","topics":["washing-machine"],"details":{"url":"https://shop.example/lavatrici/eco-8kg'
    b'?utm_source=instagram&utm_medium=paid_social","path":"/lavatrici/eco-8kg","title":"Lavatrice Eco 8 kg",'
    b'"referrer":"https://social.example/","session_id":"s-77aa01","device":"phone","os":"iOS 18.2",'
    b'"utm":{"source":"instagram","medium":"paid_social","campaign":"lavatrici-primavera","content":"story-b"},'
    b'"scroll_depth":0.85,"seconds_on_page":48},"attributes":{"ab_test":"price-first","cart_items":2,'
    b'"viewport":"390x844"}'
)
_MAIL: Final = (
    b'"outcome":"opened","topics":["newsletter","offers"],"details":{"event":"opened",'
    b'"subject":"Solo questa settimana: venti per cento su tutte le lavatrici della serie Eco",'
    b'"message_id":"<20260301.7f3a9@news.example.com>","list_id":"weekly","link_url":"https://shop.example/offerte"},'
    b'"attributes":{"client":"mobile","template":"offers-v12","segment":"returning-buyers","send_hour":9,'
    b'"variant":{"subject":"b","image":"a"},"provider":{"name":"mailer","region":"eu-south","pool":"shared-3"}}'
)
_VISIT: Final = (
    b'"agent":"sales-08","location":"milano-01","outcome":"purchased","topics":["washing-machine","installation"],'
    b'"text":"Confrontate tre lavatrici; scelta la Eco 8 kg con installazione e ritiro dell\'usato.",'
    b'"details":{"location_id":"milano-01","purpose":"purchase","employee":"sales-08","duration_seconds":1860,'
    b'"basket":{"amount":549.90,"currency":"EUR","items":2}},"feedback":[{"metric":"nps","score":9,"min":0,"max":10}],'
    b'"sentiment":{"score":0.7,"label":"positive","source":"agent"},"attributes":{"queue_ticket":"B-41","floor":2}'
)
_KINDS: Final = (
    (b"phone", b"support_call", b"support-line", b"inbound", b"service", _CALL),
    (b"chat", b"support_chat", b"site-chat", b"inbound", b"service", _CHAT),
    (b"web", b"page_viewed", b"shop-page", b"inbound", b"marketing", _PAGE),
    (b"web", b"page_viewed", b"shop-page", b"inbound", b"marketing", _PAGE),
    (b"email", b"newsletter_opened", b"newsletter", b"outbound", b"marketing", _MAIL),
    (b"store_visit", b"store_purchase", b"store", b"inbound", b"sales", _VISIT),
)
_BY_KIND: Final = TOUCHPOINTS // len(_KINDS)


class Events:
    """The events of one source, numbered; `now` is the end of the `days` they are spread over, `population` of whom."""

    def __init__(self, source: str, now: datetime, *, days: float = DAYS, population: int = POPULATION) -> None:
        self._source = source.encode()
        self._population = population
        self._times = ceil(days / DAYS)
        """As many moments as there are in 90 days, so many times."""
        step = timedelta(days=days) / (_MOMENTS * self._times)
        self._moments = [
            (now - step * back).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
            for back in range(1, 1 + _MOMENTS * self._times)
        ]

    def one(self, number: int) -> bytes:
        """The event of this number."""
        dice = _mix(number)
        customer = (dice & 0xFFFF_FFFF) % self._population
        channel, kind, touchpoint, direction, function, rest = _KINDS[number % len(_KINDS)]
        return _COMMON % (
            self._source,
            number,
            self._moments[(dice >> 32 & _MOMENTS - 1) + number // len(_KINDS) % self._times * _MOMENTS],
            number % 1000,
            channel,
            kind,
            touchpoint,
            (dice >> 45) % _BY_KIND,
            direction,
            function,
            _identifiers(customer, (dice >> 54) % 10),
            dice >> 40,
            rest,
        )

    def call(self, number: int) -> bytes:
        """The event of this number as a call of Segment's, which says as much in its own words."""
        dice = _mix(number)
        customer = (dice & 0xFFFF_FFFF) % self._population
        _, kind, touchpoint, direction, function, rest = _KINDS[number % len(_KINDS)]
        return _TRACKED % (
            number,
            self._moments[(dice >> 32 & _MOMENTS - 1) + number // len(_KINDS) % self._times * _MOMENTS],
            number % 1000,
            kind,
            _named_by_call(customer, (dice >> 54) % 10),
            touchpoint,
            (dice >> 45) % _BY_KIND,
            direction,
            function,
            dice >> 40,
            rest,
        )

    def calls(self, first: int, count: int) -> bytes:
        """A batch of so many calls."""
        return b'{"batch":[' + b",".join(map(self.call, range(first, first + count))) + b"]}"

    def array(self, first: int, count: int) -> bytes:
        """A JSON array of so many events."""
        return b"[" + b",".join(map(self.one, range(first, first + count))) + b"]"

    def lines(self, first: int, count: int) -> bytes:
        """Newline-delimited JSON of so many events."""
        return b"\n".join(map(self.one, range(first, first + count))) + b"\n"


def dated(source: str, number: int, moment: datetime, customer: bytes) -> bytes:
    """An event of a given moment and a given customer (the members of its object), for journeys to be read."""
    channel, kind, touchpoint, direction, function, rest = _KINDS[number % len(_KINDS)]
    at = moment.astimezone(UTC)
    return _COMMON % (
        source.encode(), number, at.strftime("%Y-%m-%dT%H:%M:%S").encode(), at.microsecond // 1000, channel, kind,
        touchpoint, number % _BY_KIND, direction, function, customer, number, rest,
    )  # fmt: skip


def emails(addresses: Iterable[str]) -> bytes:
    """The members of a customer that has these addresses."""
    return b'"email":[' + b",".join(b'"%b"' % address.encode() for address in addresses) + b"]"


def _identifiers(customer: int, dice: int) -> bytes:
    """Six in ten by one identifier, three by two, one by three."""
    if dice < 6:  # noqa: PLR2004 - of ten
        return b'"email":"cliente.%06d@example.com"' % customer
    if dice < 9:  # noqa: PLR2004 - of ten
        return b'"email":"cliente.%06d@example.com","phone":"+39333%07d"' % (customer, customer)
    return b'"email":"cliente.%06d@example.com","loyalty_id":"L-%07d","cookie_id":"ck-%08x"' % (
        customer,
        customer,
        customer,
    )


def _named_by_call(customer: int, dice: int) -> bytes:
    """As many identifiers, as a call has them, with the client that it comes from."""
    library = b'"library":{"name":"analytics.js","version":"2.1.0"},"locale":"it-IT"'
    if dice < 6:  # noqa: PLR2004 - of ten
        return b'"userId":"cliente.%06d","context":{%b}' % (customer, library)
    if dice < 9:  # noqa: PLR2004 - of ten
        return b'"userId":"cliente.%06d","context":{"traits":{"email":"cliente.%06d@example.com"},%b}' % (
            customer,
            customer,
            library,
        )
    return (
        b'"userId":"cliente.%06d","anonymousId":"ck-%08x","context":{"traits":{"email":"cliente.%06d@example.com"},%b}'
        % (customer, customer, customer, library)
    )


def _mix(number: int) -> int:
    """64 bits that look random and follow from the number: the finalizer of SplitMix64."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31
