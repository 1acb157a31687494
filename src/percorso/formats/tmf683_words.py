"""The words of TMF683's senders, which are free there, and what each is called here."""

import re
from collections.abc import Mapping
from typing import Any, Final

from percorso.interaction import CHANNELS

NOT_IN_WORDS: Final = re.compile(r"[^a-z0-9]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

CHANNEL_OF: Final[Mapping[str, str]] = {channel: channel for channel in CHANNELS if channel != "purchase"} | {
    "call": "phone",
    "telephone": "phone",
    "voice": "phone",
    "ivr": "phone",
    "voicemail": "phone",
    "mobile": "phone",
    "callcenter": "phone",
    "call_center": "phone",
    "contact_center": "phone",
    "callcentre": "phone",
    "call_centre": "phone",
    "contact_centre": "phone",
    "hotline": "phone",
    "video_call": "video",
    "videoconference": "video",
    "text": "sms",
    "text_message": "sms",
    "mms": "sms",
    "whatsapp": "messaging",
    "messenger": "messaging",
    "telegram": "messaging",
    "rcs": "messaging",
    "live_chat": "chat",
    "livechat": "chat",
    "web_chat": "chat",
    "webchat": "chat",
    "chatbot": "chat",
    "bot": "chat",
    "e_mail": "email",
    "newsletter": "email",
    "facebook": "social",
    "instagram": "social",
    "twitter": "social",
    "linkedin": "social",
    "tiktok": "social",
    "youtube": "social",
    "mastodon": "social",
    "social_media": "social",
    "social_network": "social",
    "website": "web",
    "web_site": "web",
    "internet": "web",
    "online": "web",
    "mobile_app": "app",
    "application": "app",
    "store": "store_visit",
    "shop": "store_visit",
    "retail": "store_visit",
    "retail_store": "store_visit",
    "branch": "store_visit",
    "point_of_sale": "store_visit",
    "pos": "store_visit",
    "technician": "field_visit",
    "on_site": "field_visit",
    "onsite": "field_visit",
    "home_visit": "field_visit",
    "totem": "kiosk",
    "terminal": "kiosk",
    "letter": "mail",
    "post": "mail",
    "postal_mail": "mail",
    "advertisement": "ad",
    "billboard": "signage",
    "forum": "community",
    "blog": "community",
    "portal": "self_service",
    "selfservice": "self_service",
    "self_care": "self_service",
    "selfcare": "self_service",
}  # fmt: skip"""Of `purchase` no resource says which order it was, which such an interaction must."""
NEEDS: Final[Mapping[str, str]] = {
    "messaging": "platform",
    "social": "network",
    "store_visit": "location_id",
    "review": "site",
    "community": "site",
}
"""The detail that interactions of a channel must have: the channel's own word says it, or its id."""
DIRECTION_OF: Final[Mapping[str, str]] = {
    "inbound": "inbound", "inbounds": "inbound", "incoming": "inbound", "in": "inbound", "received": "inbound",
    "outbound": "outbound", "outbounds": "outbound", "outgoing": "outbound", "out": "outbound", "sent": "outbound",
    "internal": "internal", "none": "none",
}  # fmt: skip
STATUS_OF: Final[Mapping[str, str]] = {
    "open": "open", "opened": "open", "new": "open", "created": "open", "acknowledged": "open", "initiated": "open",
    "in_progress": "in_progress", "inprogress": "in_progress", "pending": "in_progress", "active": "in_progress",
    "held": "in_progress",
    "completed": "completed", "complete": "completed", "closed": "completed", "done": "completed",
    "resolved": "completed", "finished": "completed",
    "failed": "failed", "rejected": "failed", "aborted": "failed",
    "cancelled": "cancelled", "canceled": "cancelled",
}  # fmt: skip
SHOWN_STATUSES: Final[Mapping[str, str]] = {"open": "opened", "in_progress": "inProgress"}
AGENTS: Final = frozenset({"agent", "csr", "employee", "sales_agent", "service_agent", "representative", "operator"})
CASES: Final = frozenset({"trouble_ticket", "troubleticket", "case", "customer_problem", "service_problem", "ticket"})


def word(given: Any) -> str:
    """A word in lower snake case: `inProgress`, `In progress` and `in-progress` are one; of no text it is empty."""
    return NOT_IN_WORDS.sub("_", _CAMEL.sub("_", given).lower()).strip("_") if isinstance(given, str) else ""
