"""The events that Segment's and RudderStack's specifications name, and what each of them is.

| events | channel | what is said of them |
| --- | --- | --- |
| Order Completed, Updated, Refunded, Cancelled | purchase; web or app without `order_id` | `details` of the order |
| Email Delivered, Opened, Link Clicked, Bounced, Marked as Spam; Unsubscribed | email | `details.event`, `outcome` |
| Live Chat Conversation Started, Ended; Live Chat Message Sent, Received | chat | `conversation`, `agent`, `text` |
| Product Reviewed | review; web or app if no site is named | `details.rating`, `text` |
| Application …, Push Notification …, Deep Link …, Install Attributed | app | `outcome` of notifications |
| products, lists, promotions, carts, coupons, wishlists, sharing | web or app | `function` |

Names are compared as slugs, so that `Order Completed`, `order_completed` and `orderCompleted` are one. An event that is
not named here is what its sender calls it, on the web or in the app.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

LONGEST_SLUG: Final = 64

_CURRENCY: Final = re.compile("[A-Z]{3}")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_IN_A_SLUG: Final = re.compile(r"[^a-z0-9.-]+")
_LONGEST_NAME: Final = 256
_LARGEST: Final = 1e300

Object = Mapping[str, Any]
Parts = dict[str, Any]
"""Members of an interaction."""


class Meaning(NamedTuple):
    """What an event is: members that all such have, and those that its properties give, if they can."""

    members: Object = MappingProxyType({})
    of: Callable[[Object, Object], Parts | None] | None = None


@lru_cache(8192)
def slug(name: str) -> str:
    """A name as a slug of at most 64 characters; empty where nothing of it can stand in one."""
    plain = unicodedata.normalize("NFKD", _HUMP.sub("_", name)).encode("ascii", "ignore").decode().lower()
    return _NOT_IN_A_SLUG.sub("_", plain).strip("_.-")[:LONGEST_SLUG].rstrip("_.-")


def text(value: object, longest: int = _LONGEST_NAME) -> str | None:
    """A text, or a whole number as one; None for anything else, for nothing, and for what is too long."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < _LARGEST else None
    return value if isinstance(value, str) and 0 < len(value) <= longest else None


def number(value: object, least: float = -_LARGEST) -> float | None:
    """A number of at least so much; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if least <= value <= _LARGEST else None


def object_of(value: object) -> Object:
    """An object; an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def said(**members: Any) -> Parts:
    """Those members that have a value."""
    return {name: value for name, value in members.items() if value is not None and value != {}}


def _order(properties: Object, _: Object) -> Parts | None:
    order_id = text(properties.get("order_id"))
    if order_id is None:
        return None
    amounts = (number(properties.get(name)) for name in ("total", "revenue", "value"))
    currency = text(properties.get("currency"))
    money = said(
        amount=next((amount for amount in amounts if amount is not None), None),
        currency=currency if currency and _CURRENCY.fullmatch(currency) else None,
    )
    details = said(order_id=order_id, total=money, items=list(_lines(properties.get("products"))) or None)
    return {"channel": "purchase", "details": details}


def _lines(products: object) -> Iterator[Parts]:
    for product in products if isinstance(products, list) else ():
        line = object_of(product)
        yield said(
            sku=text(line.get("sku")) or text(line.get("product_id")),
            quantity=number(line.get("quantity")),
            price=number(line.get("price")),
        )


def _placed(properties: Object, context: Object) -> Parts | None:
    return _with_status(_order(properties, context), "placed")


def _refunded(properties: Object, context: Object) -> Parts | None:
    return _with_status(_order(properties, context), "refunded")


def _with_status(order: Parts | None, status: str) -> Parts | None:
    if order is not None:
        order["details"]["status"] = status
    return order


def _mail(event: str) -> Callable[[Object, Object], Parts]:
    def mail(properties: Object, _: Object) -> Parts:
        details = said(
            event=event,
            subject=text(properties.get("email_subject")),
            message_id=text(properties.get("email_id")),
            link_url=text(properties.get("link_url"), 2048),
            list_id=text(properties.get("list_id")),
        )
        campaign = text(properties.get("campaign_name")) or text(properties.get("campaign_id"))
        return said(channel="email", details=details, campaign=campaign)

    return mail


def _chat(properties: Object, context: Object) -> Parts:
    details = said(
        platform=text(object_of(context.get("integration")).get("name")),
        duration_seconds=number(properties.get("conversation_duration"), 0),
        page_url=text(object_of(context.get("page")).get("url"), 2048),
    )
    return said(
        channel="chat",
        conversation=text(properties.get("conversation_id")),
        agent=text(properties.get("agent_id")) or text(properties.get("agent_username")),
        text=text(properties.get("message_body"), 1 << 16),
        details=details,
    )


def _review(properties: Object, context: Object) -> Parts | None:
    url = text(object_of(context.get("page")).get("url"), 2048)
    site = text(properties.get("site")) or _host(url)
    if site is None:
        return None
    rating = number(properties.get("rating"))
    details = said(site=site, url=url, rating=said(value=rating))
    return said(channel="review", text=text(properties.get("review_body"), 1 << 16), details=details)


def _host(url: str | None) -> str | None:
    try:
        return urlsplit(url or "").hostname
    except ValueError:
        return None


def _all(names: str, **members: Any) -> dict[str, Meaning]:
    return {name: Meaning(members) for name in names.split()}


_MARKETING: Final = """
products_searched product_list_viewed product_list_filtered promotion_viewed promotion_clicked product_clicked
product_viewed product_shared cart_shared experiment_viewed install_attributed
"""
_SALES: Final = """
product_added product_removed cart_viewed checkout_started checkout_step_viewed checkout_step_completed
payment_info_entered coupon_entered coupon_applied coupon_denied coupon_removed product_added_to_wishlist
product_removed_from_wishlist wishlist_product_added_to_cart order_updated order_completed order_refunded
order_cancelled
"""
_APPLICATION: Final = """
application_installed application_opened application_updated application_foregrounded application_backgrounded
application_uninstalled application_crashed deep_link_opened deep_link_clicked install_attributed
"""
_UNASKED: Final[Parts] = {"channel": "app", "direction": "outbound", "function": "marketing"}
_MAILED: Final[Parts] = {"function": "marketing"}
_SOLD: Final[Parts] = {"function": "sales"}
_SERVED: Final[Parts] = {"function": "service"}

EVENTS: Final[Mapping[str, Meaning]] = {
    **_all(_MARKETING, function="marketing"),
    **_all(_SALES, function="sales"),
    **_all(_APPLICATION, channel="app"),
    "application_crashed": Meaning({"channel": "app", "status": "failed"}),
    "install_attributed": Meaning({"channel": "app", "function": "marketing"}),
    "push_notification_received": Meaning(_UNASKED | {"outcome": "delivered"}),
    "push_notification_tapped": Meaning(_UNASKED | {"outcome": "clicked"}),
    "push_notification_bounced": Meaning(_UNASKED | {"outcome": "bounced"}),
    "order_completed": Meaning(_SOLD | {"status": "completed", "outcome": "purchased"}, _placed),
    "order_updated": Meaning(_SOLD, _order),
    "order_refunded": Meaning(_SOLD, _refunded),
    "order_cancelled": Meaning(_SOLD | {"status": "cancelled"}, _order),
    "product_reviewed": Meaning({"function": "marketing"}, _review),
    "email_sent": Meaning(_MAILED, _mail("sent")),
    "email_delivered": Meaning(_MAILED | {"outcome": "delivered"}, _mail("delivered")),
    "email_opened": Meaning(_MAILED | {"outcome": "opened"}, _mail("opened")),
    "email_link_clicked": Meaning(_MAILED | {"outcome": "clicked"}, _mail("clicked")),
    "email_bounced": Meaning(_MAILED | {"outcome": "bounced"}, _mail("bounced")),
    "email_marked_as_spam": Meaning(_MAILED | {"outcome": "complained"}, _mail("complained")),
    "unsubscribed": Meaning(_MAILED | {"outcome": "unsubscribed", "direction": "inbound"}, _mail("unsubscribed")),
    "live_chat_conversation_started": Meaning(_SERVED | {"status": "open"}, _chat),
    "live_chat_conversation_ended": Meaning(_SERVED | {"status": "completed"}, _chat),
    "live_chat_message_sent": Meaning(_SERVED | {"direction": "inbound"}, _chat),
    "live_chat_message_received": Meaning(_SERVED | {"direction": "outbound"}, _chat),
}
"""What each event of the specifications is, by the slug of its name."""
