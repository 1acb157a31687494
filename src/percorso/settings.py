"""Every knob, described. Each is read from the environment as `PERCORSO_<NAME>`, or from a `.env` file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Bytes = Annotated[int, Field(gt=0)]


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
        None, description="The service's address as clients see it, where a proxy stands before it."
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
    profile_max_age_hours: PositiveInt = Field(
        24,
        description="A customer's profile is made anew after so long even where nothing happened: time changes it too.",
    )
    allow_private_callbacks: bool = Field(
        False,
        description="Whether deliveries may go to addresses within private networks, and to this machine itself. Leave "
        "it off where callers could reach through it what they cannot reach themselves.",
    )
    drain_seconds: PositiveInt = Field(30, description="How long a stop waits for requests in progress.")
