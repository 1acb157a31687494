"""Examples of answers, for the OpenAPI document: one story, told by every route."""

from typing import Any, Final

INTERACTION_ID: Final = "019c0d2f-1a80-8c3e-b4d1-7a90c4e5f601"
CUSTOMER_ID: Final = "d345ea01-9b1c-4f7e-8a55-3f0c2f6a7b88"
REJECTION_ID: Final = "019c0d33-52a1-8b07-a2c4-11d0f3a9c7e5"
_RECEIVED_AT: Final = "2026-11-20T09:05:12.117Z"
_CURSOR: Final = "EBmcDS8agIw-tNF6kMTl9gFqb3VybmV5LWRlc2M"

Example = dict[str, Any]

GIVEN: Final[Example] = {
    "source": "crm",
    "id": "call-8731",
    "occurred_at": "2026-11-20T10:00:00+01:00",
    "channel": "phone",
    "kind": "support_call",
    "touchpoint": "support-line",
    "direction": "inbound",
    "function": "service",
    "customer": {"email": "anna@example.com", "phone": "+39066982", "crm_id": "C-17"},
    "agent": "agent-12",
    "conversation": "conv-9",
    "case": "case-4",
    "status": "completed",
    "outcome": "answered",
    "resolution": "unresolved",
    "sentiment": {"score": -0.4, "label": "negative", "source": "speech-model"},
    "feedback": [{"metric": "csat", "score": 2, "min": 1, "max": 5, "text": "waited too long"}],
    "topics": ["billing"],
    "language": "it",
    "details": {"duration_seconds": 312, "queue": "support"},
}
PATCH: Final[Example] = {"resolution": "resolved", "attributes": {"refund": 12.5}, "sentiment": None}
PROBLEM: Final[Example] = {
    "type": "urn:percorso:problem:rejected",
    "title": "The interaction was rejected",
    "status": 422,
    "detail": "The interaction cannot be stored as it is: see `errors`. It is kept in quarantine.",
    "instance": "urn:percorso:request:5f0c1c6f2b6e4f0d",
    "code": "rejected",
    "errors": [{"pointer": "/occurred_at", "detail": "is more than 24 hours in the future"}],
    "rejection_id": REJECTION_ID,
}
RECEIPT: Final[Example] = {
    "status": "stored",
    "interaction_id": INTERACTION_ID,
    "customer_id": CUSTOMER_ID,
    "received_at": _RECEIVED_AT,
}
BATCH: Final[Example] = {
    "received": 1000,
    "stored": 999,
    "duplicate": 0,
    "conflict": 0,
    "rejected": 1,
    "retry": 0,
    "results": [
        {
            "index": 17,
            "status": "rejected",
            "rejection_id": REJECTION_ID,
            "errors": [{"pointer": "/occurred_at", "detail": "must be a date and time with an offset"}],
        }
    ],
}
INTERACTION: Final[Example] = GIVEN | {
    "interaction_id": INTERACTION_ID,
    "customer_id": CUSTOMER_ID,
    "received_at": _RECEIVED_AT,
}
INTERACTIONS: Final[Example] = {"items": [INTERACTION], "next_cursor": None}
JOURNEY: Final[Example] = {"customer_id": CUSTOMER_ID, "items": [INTERACTION], "next_cursor": _CURSOR}
REVISIONS: Final[Example] = {
    "items": [
        {
            "revision": 0,
            "replaced_at": "2026-11-21T08:00:00.000Z",
            "replaced_by": "crm-connector",
            "interaction": GIVEN,
        },
        {
            "revision": 1,
            "replaced_at": None,
            "replaced_by": None,
            "interaction": GIVEN | {"resolution": "resolved"},
        },
    ],
    "next_cursor": None,
}
SAID_TRAITS: Final[Example] = {
    "traits": {"first_name": "Anna", "language": "it", "tier": {"name": "gold", "points": 4120}, "nickname": None},
    "occurred_at": "2026-11-20T10:00:00+01:00",
    "source": "crm",
}
_TRAIT: Final[Example] = {
    "value": "it",
    "occurred_at": "2026-11-20T09:00:00.000Z",
    "source": "crm",
    "received_at": _RECEIVED_AT,
    "set_by": "crm-connector",
}
TRAITS: Final[Example] = {
    "customer_id": CUSTOMER_ID,
    "traits": {"language": _TRAIT, "tier": _TRAIT | {"value": {"name": "gold", "points": 4120}}},
}
TRAIT_HISTORY: Final[Example] = {
    "customer_id": CUSTOMER_ID,
    "items": [
        {"name": "language"} | _TRAIT,
        {"name": "language"} | _TRAIT | {"value": "de", "occurred_at": "2026-03-02T08:15:00.000Z"},
    ],
    "next_cursor": None,
}
SAID_CONSENTS: Final[Example] = {
    "consents": [
        {
            "purpose": "marketing",
            "channel": "email",
            "status": "granted",
            "occurred_at": "2026-11-20T10:00:00+01:00",
            "lawful_basis": "consent",
            "evidence": "newsletter form, version 7, double opt-in",
            "source": "shop",
        }
    ]
}
_CONSENT: Final[Example] = {
    "purpose": "marketing",
    "channel": "email",
    "status": "granted",
    "occurred_at": "2026-11-20T09:00:00.000Z",
    "lawful_basis": "consent",
    "evidence": "newsletter form, version 7, double opt-in",
    "interaction_id": None,
    "source": "shop",
    "received_at": _RECEIVED_AT,
    "set_by": "shop-connector",
}
_OPT_OUT: Final[Example] = _CONSENT | {
    "channel": "sms",
    "status": "denied",
    "evidence": None,
    "interaction_id": INTERACTION_ID,
    "set_by": None,
}
CONSENTS: Final[Example] = {
    "customer_id": CUSTOMER_ID,
    "items": [_CONSENT],
    "next_cursor": None,
    "allowed": True,
    "reason": "granted",
    "decided_by": _CONSENT,
}
CONSENT_HISTORY: Final[Example] = {"customer_id": CUSTOMER_ID, "items": [_CONSENT, _OPT_OUT], "next_cursor": None}
CUSTOMER: Final[Example] = {
    "customer_id": CUSTOMER_ID,
    "identifiers": [
        {"kind": "email", "value": "anna@example.com", "strong": True, "first_seen_at": _RECEIVED_AT},
    ],
    "first_contact_at": "2026-03-02T08:15:00.000Z",
    "last_contact_at": "2026-11-20T09:00:00.000Z",
    "interactions": {"total": 23, "by_channel": {"email": 4, "phone": 19}},
    "traits": TRAITS["traits"],
    "consents": [_CONSENT, _OPT_OUT],
}
MERGED: Final[Example] = {
    "customers": [{"customer_id": CUSTOMER_ID, "identifiers": CUSTOMER["identifiers"]}],
}
_CHANGE: Final[Example] = {
    "at": "2026-11-21T08:00:00.000Z",
    "what": "split",
    "state": "cut",
    "by": "service-desk",
    "reason": "The shop's own number, typed in for everyone.",
    "interaction_id": None,
    "source": None,
}
IDENTITY: Final[Example] = {
    "customer_id": CUSTOMER_ID,
    "at": None,
    "customer_id_then": CUSTOMER_ID,
    "identifiers": [
        {
            "identity_id": CUSTOMER_ID,
            "kind": "email",
            "value": "anna@example.com",
            "strong": True,
            "first_seen_at": _RECEIVED_AT,
            "changes": [],
        },
    ],
    "links": [
        {
            "identities": [
                {
                    "identity_id": "4be0643f-1d98-a73b-97cd-ca98a65347dd",
                    "kind": "phone",
                    "value": "+39066982",
                    "customer_id": "4be0643f-1d98-a73b-97cd-ca98a65347dd",
                },
                {
                    "identity_id": CUSTOMER_ID,
                    "kind": "email",
                    "value": "anna@example.com",
                    "customer_id": CUSTOMER_ID,
                },
            ],
            "state": "cut",
            "linked_at": _RECEIVED_AT,
            "by": None,
            "interaction_id": INTERACTION_ID,
            "source": "crm",
            "changes": [_CHANGE],
        }
    ],
}
SUSPICION: Final[Example] = {
    "suspicion_id": "019c0d44-0c11-8a55-9d02-6be2a10c7f31",
    "why": "too_many",
    "identities": [
        {
            "identity_id": "1d2c8f0a-33b4-4f6e-9a10-0b8f2a5e6c1d",
            "kind": "crm_id",
            "value": "C-18",
            "strong": True,
            "customer_id": "1d2c8f0a-33b4-4f6e-9a10-0b8f2a5e6c1d",
        },
        {
            "identity_id": CUSTOMER_ID,
            "kind": "email",
            "value": "anna@example.com",
            "strong": True,
            "customer_id": CUSTOMER_ID,
        },
    ],
    "detail": {"kind": "crm_id", "limit": 1, "count": 2},
    "times": 1,
    "first_at": _RECEIVED_AT,
    "last_at": _RECEIVED_AT,
    "interaction_id": INTERACTION_ID,
    "source": "crm",
    "decided_at": None,
    "decided_by": None,
    "decision": None,
    "reason": None,
}
SUSPECTED: Final[Example] = {"items": [SUSPICION], "next_cursor": None}
TOUCHPOINT: Final[Example] = {
    "slug": "support-line",
    "channel": "phone",
    "name": "Support line",
    "function": "service",
    "stage": "service",
    "owner": "Contact centre",
    "location": None,
    "discovered": False,
    "merged_into": None,
    "merged": ["hotline"],
    "created_at": "2026-03-02T08:15:00.000Z",
    "updated_at": _RECEIVED_AT,
}
TOUCHPOINT_CHANGE: Final[Example] = {
    "slug": "hotline",
    "into": "support-line",
    "what": "merged",
    "at": _RECEIVED_AT,
    "by": "registry-keeper",
    "reason": "One line under two names.",
}
ONE_TOUCHPOINT: Final[Example] = TOUCHPOINT | {"asked_for": "hotline", "changes": [TOUCHPOINT_CHANGE]}
KEY: Final[Example] = {
    "id": "0b8f2a5e-6c1d-4f0e-9a77-2f64d1f0c3aa",
    "name": "crm-connector",
    "scopes": ["ingest"],
    "sources": ["crm"],
    "channels": None,
    "created_at": "2026-03-02T08:15:00.000Z",
    "expires_at": None,
    "last_used_at": "2026-11-23T07:59:00.000Z",
    "rotated_until": None,
    "revoked_at": None,
    "rate": 500.0,
    "burst": 20_000,
}
NEW_KEY: Final[Example] = KEY | {"key": "pcs_…"}
KEYS: Final[Example] = {"items": [KEY], "next_cursor": None}
EXPORT_LINE: Final[Example] = {
    "part": "identities",
    "item": {
        "identity_id": CUSTOMER_ID,
        "kind": "email",
        "value": "anna@example.com",
        "strong": True,
        "first_seen_at": _RECEIVED_AT,
    },
}
EXPORT: Final[Example] = {
    "customer_id": CUSTOMER_ID,
    "exported_at": "2026-11-23T08:00:00.000Z",
    "identities": [EXPORT_LINE["item"]],
    "interactions": [
        {
            "interaction_id": INTERACTION_ID,
            "identity_id": CUSTOMER_ID,
            "key": "5e1f7a90-c4e5-f601-8b07-a2c411d0f3a9",
            "received_at": _RECEIVED_AT,
            "touchpoint": "support-line",
            "channel": "phone",
            "kind": "support_call",
            "function": "service",
            "direction": "inbound",
            "revision": 0,
            "document": GIVEN,
        }
    ],
    "rejected_interactions": [],
    "identity_links": [],
    "identity_changes": [],
    "identity_suspicions": [],
    "interaction_revisions": [],
    "audit_log": [],
}
_KEY_NAMES: Final = {"actor": "service-desk", "key_id": "0b8f2a5e-6c1d-4f0e-9a77-2f64d1f0c3aa"}
AUDIT_HEAD: Final[Example] = {
    "seq": 40211,
    "hash": "6a6c0e2f8b1d4c5597d0a3fe1b2c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e",
}
AUDIT_ENTRY: Final[Example] = {
    "seq": 40211,
    "at": "2026-11-20T09:12:40.031Z",
    "act": "read",
    **_KEY_NAMES,
    "subject": CUSTOMER_ID,
    "details": {"route": "GET /v1/customers/{customer}/journey"},
    "previous": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "hash": AUDIT_HEAD["hash"],
}
CERTIFICATE: Final[Example] = {
    "erasure_id": "019c0d35-0b11-8d2f-9c41-5a0f3e7b6d24",
    "customer_id": CUSTOMER_ID,
    "state": "erased",
    "mode": "delete",
    "requested_at": "2026-11-24T10:00:00.000Z",
    "requested_by": "privacy-desk",
    "key_id": _KEY_NAMES["key_id"],
    "reason_hash": "c2f1a0b9d8e7f6051423324150617283c2f1a0b9d8e7f6051423324150617283",
    "finished_at": "2026-11-24T10:00:00.214Z",
    "identifiers": {"email": 1, "phone": 1, "cookie_id": 2},
    "found": {
        "documents_of_others": 1,
        "identities": 4,
        "identity_links": 3,
        "interaction_keys": 23,
        "interaction_revisions": 2,
        "interactions": 23,
        "rejected_interactions": 1,
    },
    "kept": {"shared_identifiers": 1, "tombstones": 4},
    "audit": {"seq": 40213, "hash": AUDIT_HEAD["hash"]},
}
CERTIFICATES: Final[Example] = {"items": [CERTIFICATE], "next_cursor": None}
AUDIT_LOG: Final[Example] = {"items": [AUDIT_ENTRY], "next_cursor": _CURSOR}
RETENTION: Final[Example] = {
    "policy": {"days": 1095, "channel_days": {"web": 90}, "quarantine_days": 30, "commit_log_days": 14},
    "last_run": {
        "began_at": "2026-11-20T09:00:00.000Z",
        "ended_at": "2026-11-20T09:00:41.530Z",
        "partitions": 1,
        "interactions": 20311,
        "rejected": 17,
        "commit_days": 1,
        "bytes": 812646400,
    },
    "due": {
        "partitions": [{"month": "2023-10", "interactions": 1048211, "bytes": 1024458752}],
        "channels": [
            {"channel": "web", "before": "2026-08-22T00:00:00.000Z", "swept_until": "2026-08-21T00:00:00.000Z"}
        ],
        "commit_days": ["2026-11-05"],
        "quarantine_before": "2026-10-21T00:00:00.000Z",
    },
}
HEALTH: Final[Example] = {"status": "ok", "checks": {"writer": "ok", "database": "ok", "schema": "ok"}}
METRICS: Final = 'percorso_http_requests_total{method="POST",route="/v1/interactions",status="201"} 4211.0\n'
