"""Every knob, described. Each is read from the environment as `PERCORSO_<NAME>`, or from a `.env` file."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import Field, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Bytes = Annotated[int, Field(gt=0)]
_Granted = Literal["ingest", "read", "write", "privacy", "admin", "customer"]
RouteGroup = Literal["ingest", "reads", "analytics", "exports", "administration"]
"""The kinds of requests, which have budgets of their own."""
_SHARES: Final[dict[RouteGroup, float]] = {
    "ingest": 1.0,
    "reads": 0.5,
    "analytics": 0.1,
    "exports": 0.05,
    "administration": 0.1,
}
Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^/\s]+)$")]
"""What a browser calls a site: scheme, host, and a port where it is not the usual one. `*` is any."""


class Settings(BaseSettings):
    """Read once at start; every field has a default that works."""

    model_config = SettingsConfigDict(env_prefix="PERCORSO_", env_file=".env", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        None,
        description="Postgres 15 or newer, as `postgresql://user:password@host/name`. Unset: an embedded PostgreSQL.",
    )
    data_dir: Path = Field(Path(".percorso"), description="Where the embedded PostgreSQL keeps its data.")
    bootstrap_key: SecretStr | None = Field(
        None, description="The secret of a first admin key, made at start if it does not exist yet. For automation."
    )
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    workers: PositiveInt = Field(1, description="How many processes serve requests.")
    public_url: str | None = Field(
        None,
        description="The service's address as clients see it, where a proxy stands before it. With `https://` answers "
        "tell browsers to use nothing else.",
    )
    cors_origins: list[Origin] = Field(
        [],
        description="The sites whose pages may ask from within a browser, as JSON such as "
        '`["https://desk.example.com"]`; `["*"]` is any. They need a key as everyone does. The calls of Segment\'s and '
        "RudderStack's clients may come from any site.",
    )
    default_region: str | None = Field(
        None,
        pattern="^[A-Z]{2}$",
        description="The ISO 3166 country of phone numbers given without `+`. Unset: they are refused.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe log line written."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="How log lines look; `auto` is console on a terminal and JSON elsewhere."
    )
    tracing: bool = Field(
        False,
        description="Whether requests are traced, by OpenTelemetry (extra `tracing`); its own variables say where "
        "to, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.",
    )
    commit_timeout_seconds: PositiveInt = Field(10, description="A group commit that takes longer is tried anew.")
    pool_size: PositiveInt = Field(10, description="Database connections a process keeps for reading.")
    statement_timeout_seconds: PositiveInt = Field(30, description="A reading statement is cancelled after so long.")
    analytics_connections: PositiveInt = Field(
        2,
        description="Database connections a process keeps for analytics alone, and how many of these it works on at "
        "once; so they never take one from ingest or journeys.",
    )
    analytics_timeout: PositiveInt = Field(
        20,
        description="Seconds after which an analytics call is given up, with 503, its wait for a connection included.",
    )
    connect_timeout_seconds: PositiveInt = Field(5, description="How long to wait for a new database connection.")
    max_event_bytes: Bytes = Field(64 * 1024, description="An interaction larger than this is rejected.")
    max_batch_bytes: Bytes = Field(
        16 * 1024 * 1024, description="A JSON array larger than this, decompressed, is refused."
    )
    max_batch_items: PositiveInt = Field(
        10_000, description="A JSON array of more items is refused; NDJSON has no such limit."
    )
    max_future_seconds: PositiveInt = Field(24 * 3600, description="An interaction further in the future is rejected.")
    commit_rows: PositiveInt = Field(2_000, description="Most interactions in one group commit.")
    commit_bytes: Bytes = Field(8 * 1024 * 1024, description="Most bytes of interactions in one group commit.")
    commit_connections: PositiveInt = Field(
        2, description="Database connections a process writes on: while one waits for a commit, the other goes on."
    )
    statement_rows: int = Field(
        200,
        ge=0,
        description="Most interactions stored by one statement, the quickest way for few; more are copied.",
    )
    queue_rows: PositiveInt = Field(
        20_000, description="Interactions that may wait for the writer; more are answered 503."
    )
    queue_bytes: Bytes = Field(
        64 * 1024 * 1024, description="Bytes that may wait for the writer; more are answered 503."
    )
    max_concurrent_requests: PositiveInt = Field(
        1_000, description="Requests a process works on at once; more are answered 503 at once."
    )
    group_shares: dict[RouteGroup, Annotated[float, Field(gt=0, le=1)]] = Field(
        _SHARES,
        description='The share of these that each group of routes may take, as JSON such as `{"reads": 0.4}`; what is '
        "not named stays as it is. Those of reads, analytics and exports together leave the rest to ingest; that of "
        "administration comes on top.",
    )
    max_body_bytes: Bytes = Field(
        128 * 1024 * 1024,
        description="Bytes of request bodies, decompressed, that a process holds at once; beyond that requests with a "
        "body are answered 503. In memory they take about twice as much.",
    )
    shed_lag_seconds: float = Field(
        0.5,
        gt=0,
        description="Where the event loop stays so late, analytics and exports are answered 503; at twice that, reads "
        "too.",
    )
    receive_timeout_seconds: PositiveInt = Field(
        30,
        description="How long a process waits for a request that arrives slower than 1 KiB a second; then it is "
        "given up, with 408 where its headers are complete.",
    )
    seen_identities: PositiveInt = Field(
        200_000, description="Identifiers a process remembers as stored, to skip writing them."
    )
    max_identifiers: dict[str, PositiveInt] = Field(
        {
            "customer_id": 1,
            "crm_id": 1,
            "tax_id": 1,
            "account_id": 5,
            "loyalty_id": 5,
            "user_id": 5,
            "email": 5,
            "phone": 5,
            "whatsapp": 5,
            "social": 5,
        },
        description="Most identifiers of a kind that a customer may gather, as JSON; a link that would bring more is "
        "stored as suspected, for review. One where a register gives each person one, a few where people collect "
        "them. A kind that is not named has no limit.",
    )
    shared_customers: PositiveInt = Field(
        10,
        description="Most customers that one email or phone may link within `PERCORSO_SHARED_DAYS`; one that would "
        "link more is shared: it joins nobody from then on, and those it had joined stand apart again.",
    )
    shared_days: PositiveInt = Field(7, description="The days over which `PERCORSO_SHARED_CUSTOMERS` counts.")
    key_cache_seconds: PositiveInt = Field(5, description="How long a revoked key may still work in a running process.")
    jwt_issuer: str | None = Field(
        None,
        min_length=1,
        description="Whose tokens (JWT) are taken beside keys, exactly as `iss` in them says it. Unset: none are.",
    )
    jwt_audience: str | None = Field(
        None, min_length=1, description="What `aud` of a token must name; needed where an issuer is named."
    )
    jwt_jwks_url: str | None = Field(
        None,
        pattern="^https?://",
        description="Where the issuer's public keys are, as a JWK set. Unset: where the issuer's "
        "`/.well-known/openid-configuration` says.",
    )
    jwt_algorithms: tuple[Literal["RS256", "ES256", "EdDSA"], ...] = Field(
        ("RS256", "ES256", "EdDSA"), min_length=1, description="The signatures that are taken, as JSON."
    )
    jwt_leeway_seconds: int = Field(
        30, ge=0, le=300, description="How far the issuer's clock may be off, for `exp`, `nbf` and `iat`."
    )
    jwt_scope_claim: str = Field(
        "scope",
        min_length=1,
        description="The claim that says what the caller may: words divided by spaces, or a list. Dots lead into "
        "objects, as in `realm_access.roles`.",
    )
    jwt_scopes: dict[str, tuple[_Granted, ...]] = Field(
        {f"percorso:{each}": (each,) for each in get_args(_Granted)},
        description="The scopes that each word of that claim gives, as JSON. `customer` limits the token, whatever "
        "else it has, to the journey and the summary of one customer.",
    )
    jwt_customer_claim: str = Field(
        "sub", min_length=1, description="The claim that names this customer by an identifier."
    )
    jwt_customer_kind: str = Field(
        "user_id", pattern="^[a-z][a-z0-9_]{0,63}$", description="The kind of this identifier, such as `email`."
    )
    jwt_name_claim: str | None = Field(
        None,
        min_length=1,
        description="The claim that stands for the caller in the audit log and wherever it is said who did something, "
        "after `token:`. It should name programs, not persons, such as `client_id`. Unset: a keyed hash of `sub`.",
    )
    jwt_refresh_seconds: PositiveInt = Field(
        300, description="The issuer's keys are fetched anew after so long: a key that it withdrew is taken no longer."
    )
    jwt_refetch_seconds: PositiveInt = Field(
        30, description="How often they are fetched at most, whatever key a token names."
    )
    jwt_stale_seconds: PositiveInt = Field(
        6 * 3600, description="How long keys that were fetched are taken while the issuer does not answer."
    )
    key_rate: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="What a key may send a second, over all processes, where it has no rate of its own: each "
        "interaction counts, and each other request. Beyond that it is answered 429. Unset: no limit.",
    )
    key_burst: PositiveInt | None = Field(
        None, description="How many of those may gather and be sent at once. Unset: those of ten seconds."
    )
    schema_cache_seconds: PositiveInt = Field(
        5, description="How long a running process may check interactions by schemas that were changed elsewhere."
    )
    audit_reads: float = Field(
        1, ge=0, le=1, description="The fraction of reads of a single customer that the audit log names; 0 is none."
    )
    erasure: Literal["delete", "anonymise"] = Field(
        "delete",
        description="What an erasure does with interactions; `anonymise` leaves each as a count of nobody's: its hour, "
        "channel, kind, touchpoint, function and direction.",
    )
    retention_days: PositiveInt | None = Field(
        None,
        description="How many days an interaction is kept after it occurred; then it is deleted. Unset: for ever.",
    )
    retention_channel_days: dict[str, PositiveInt] = Field(
        {},
        description="The same for single channels, whether longer or shorter, as JSON such as "
        '`{"web": 90, "phone": 3650}`.',
    )
    quarantine_days: PositiveInt | None = Field(
        None, description="How many days refused items are kept. Unset: for ever."
    )
    commit_log_days: PositiveInt = Field(
        14,
        description="How many days the commit log is kept, at least: longer where something that follows it has not "
        "read so far.",
    )
    background_workers: bool = Field(
        True,
        description="Whether this process may run what is done beside requests; of all that may, one does each of it.",
    )
    watch_late_days: PositiveInt = Field(
        7, description="Watches still fire for what became true so long ago, where it is stored or changed late."
    )
    watch_firings_days: int = Field(
        365, ge=100, description="How many days what watches fired is kept: longer than any rule looks back."
    )
    profile_max_age_hours: PositiveInt = Field(
        24,
        description="A customer's profile is made anew after so long even where nothing happened: time changes it too.",
    )
    allow_private_callbacks: bool = Field(
        False,
        description="Whether deliveries may go to addresses within private networks, and to this machine itself. Leave "
        "it off where callers could reach through it what they cannot reach themselves.",
    )
    feed_readers: PositiveInt = Field(
        100,
        description="Streams of the feed, and requests that wait for it, that a process has at once, beside those of "
        "`PERCORSO_MAX_CONCURRENT_REQUESTS`; more are answered 503.",
    )
    feed_stall_seconds: PositiveInt = Field(
        30, description="A stream whose reader takes nothing for so long is cut; it can go on where it was."
    )
    drain_seconds: PositiveInt = Field(30, description="How long a stop waits for requests in progress.")

    @model_validator(mode="after")
    def _audience_is_named(self) -> Self:
        if self.jwt_issuer is not None and self.jwt_audience is None:
            raise ValueError(
                "PERCORSO_JWT_AUDIENCE is needed with PERCORSO_JWT_ISSUER: else tokens for others are taken"
            )
        return self

    @field_validator("group_shares")
    @classmethod
    def _with_the_usual(cls, given: dict[RouteGroup, float]) -> dict[RouteGroup, float]:
        shares = _SHARES | given
        if sum(shares[group] for group in get_args(RouteGroup) if group not in {"ingest", "administration"}) >= 1:
            raise ValueError("the shares of reads, analytics and exports must leave something to ingest")
        return shares
