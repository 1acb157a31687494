"""What the service counts, for Prometheus. Labels never carry anything personal or unbounded."""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

INTERACTIONS = Counter("percorso_interactions", "Interactions taken in, by verdict.", ["status"])
SCHEMA_FAILURES = Counter(
    "percorso_schema_failures",
    "Interactions that did not fit the schema of their channel and kind, by its mode; one for all kinds has kind *.",
    ["channel", "kind", "mode"],
)
COMMIT_SECONDS = Histogram(
    "percorso_commit_seconds",
    "Time of one group commit, seconds.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
COMMIT_ROWS = Histogram(
    "percorso_commit_rows",
    "Interactions in one group commit.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
)
COMMIT_RETRIES = Counter("percorso_commit_retries", "Group commits tried again after a failure of the database.")
QUEUE_ROWS = Gauge("percorso_queue_rows", "Interactions waiting for the writer.", multiprocess_mode="livesum")
QUEUE_BYTES = Gauge("percorso_queue_bytes", "Bytes waiting for the writer.", multiprocess_mode="livesum")
WRITER_UP = Gauge("percorso_writer_up", "1 while the writer can reach the database.", multiprocess_mode="livemin")
SHED = Counter(
    "percorso_http_shed", "Requests refused since too many were in progress, by the group of their route.", ["group"]
)
BODY_BYTES = Gauge("percorso_http_body_bytes", "Bytes of request bodies in memory.", multiprocess_mode="livesum")
PRESSURE = Gauge(
    "percorso_pressure_level",
    "What is refused so that more important work is done: 0 nothing, 1 analytics and exports, 2 reads too.",
    multiprocess_mode="livemax",
)
RATE_LIMITED = Counter("percorso_http_rate_limited", "Requests refused since their key had sent all that it may.")
AUDITED = Counter("percorso_audited_reads", "Reads of a single customer written to the audit log.")
ISSUER_FETCHES = Counter(
    "percorso_issuer_fetches", "Times that the keys of the issuer of tokens were fetched, or could not be.", ["outcome"]
)
REQUESTS = Counter("percorso_http_requests", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "percorso_http_request_seconds",
    "Time to answer a request, seconds.",
    ["route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
)
WORKER_SECONDS = Histogram(
    "percorso_worker_seconds",
    "Time of one run of a background worker, seconds; its count is that of the runs.",
    ["worker"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800, 7200),
)
WORKER_FAILURES = Counter("percorso_worker_failures", "Runs of a background worker that failed.", ["worker"])
WORKER_LAST_SUCCESS = Gauge(
    "percorso_worker_last_success_timestamp_seconds",
    "When a background worker last did its work here, Unix time.",
    ["worker"],
    multiprocess_mode="max",
)
WORKER_LEADER = Gauge(
    "percorso_worker_leader",
    "1 where a process of this service runs the background worker.",
    ["worker"],
    multiprocess_mode="livesum",
)
EXPIRED = Counter(
    "percorso_expired",
    "What was taken away since it is not to be kept: interactions, partitions, rejected, commit_days.",
    ["what"],
)
ROLLUP_HOURS_LEFT = Gauge(
    "percorso_rollup_hours_left",
    "Hours whose rollups are to be made, of those that are named and of those that the first pass has not come to.",
    multiprocess_mode="livemax",
)
ROLLUP_HOURS = Counter("percorso_rollup_hours", "Hours whose rollups were made.")
ROLLUP_INTERACTIONS = Counter("percorso_rollup_interactions", "Interactions read to make rollups.")
ROLLUP_AGE = Gauge(
    "percorso_rollup_age_seconds",
    "How far the rollups are behind the interactions; -1 while the first pass is not complete.",
    multiprocess_mode="livemax",
)
WATCH_FIRINGS = Counter("percorso_watch_firings", "What watches fired, by the name of the watch.", ["watch"])
WATCH_AGE = Gauge(
    "percorso_watch_age_seconds",
    "How far watches are behind what is stored, or behind a span that ended, whichever is more.",
    multiprocess_mode="livemax",
)
DELIVERIES = Counter(
    "percorso_deliveries", "What came of telling subscribers: taken, failed (it is tried again), given_up.", ["what"]
)

TAKEN_BYTES = Counter("percorso_taken_bytes", "Bytes of what was taken in: interactions, and refused items.")
BATCH_ITEMS = Histogram(
    "percorso_batch_items", "Items of one batch.", buckets=(1, 5, 20, 100, 500, 1000, 2000, 5000, 10_000, 50_000)
)
REJECTED = Counter("percorso_rejected", "Items refused, by the first thing that was wrong with each.", ["reason"])
QUEUE_ROWS_LIMIT = Gauge(
    "percorso_queue_rows_limit", "Interactions that may wait for the writer.", multiprocess_mode="livesum"
)
QUEUE_BYTES_LIMIT = Gauge(
    "percorso_queue_bytes_limit", "Bytes that may wait for the writer.", multiprocess_mode="livesum"
)

POOL_USED = Gauge(
    "percorso_pool_connections_used", "Connections of a pool that are lent.", ["pool"], multiprocess_mode="livesum"
)
POOL_LIMIT = Gauge(
    "percorso_pool_connections_limit", "Connections that a pool may lend.", ["pool"], multiprocess_mode="livesum"
)
AUDIT_WAITING = Gauge(
    "percorso_audit_waiting", "Reads that wait to be written to the audit log.", multiprocess_mode="livesum"
)
LOOP_LATE = Histogram(
    "percorso_loop_late_seconds",
    "How late a process comes to what it is to do at a certain time, seconds: what else kept it busy.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
PROCESSES = Gauge("percorso_processes", "Processes that serve.", multiprocess_mode="livesum")
PROCESS_CPU = Counter("percorso_process_cpu_seconds", "Time that processes computed for, seconds.")
PROCESS_BYTES = Gauge("percorso_process_resident_bytes", "Memory of all processes.", multiprocess_mode="livesum")
PROCESS_FILES = Gauge(
    "percorso_process_open_files", "Files and sockets open in the process that has most.", multiprocess_mode="livemax"
)
PROCESS_FILES_LIMIT = Gauge(
    "percorso_process_open_files_limit", "Files and sockets that a process may open.", multiprocess_mode="livemax"
)
BUILD = Gauge(
    "percorso_build_info",
    "1, with the release that runs and the schema that it needs.",
    ["version", "schema"],
    multiprocess_mode="livemax",
)

# What follows one process of all replicas finds out, and says for as long as it does: see `workers.sampling`.
DATABASE_BYTES = Gauge(
    "percorso_database_bytes", "Size of the database.", ["database"], multiprocess_mode="livemostrecent"
)
DATABASE_CONNECTIONS = Gauge(
    "percorso_database_connections",
    "Connections that the database server has, of whomever.",
    ["database"],
    multiprocess_mode="livemostrecent",
)
DATABASE_CONNECTIONS_LIMIT = Gauge(
    "percorso_database_connections_limit",
    "Connections that the database server may have.",
    ["database"],
    multiprocess_mode="livemostrecent",
)
DATABASE_OLDEST = Gauge(
    "percorso_database_oldest_transaction_seconds",
    "Age of the oldest transaction: what it may still write, those who follow the commit log wait for.",
    ["database"],
    multiprocess_mode="livemostrecent",
)
DATABASE_CLOCK = Gauge(
    "percorso_database_clock_ahead_seconds",
    "By how much the database's clock is ahead of this service's.",
    ["database"],
    multiprocess_mode="livemostrecent",
)
DISK_FREE = Gauge(
    "percorso_disk_free_bytes",
    "Free on the disk that holds the database, where that is on this machine.",
    ["database"],
    multiprocess_mode="livemostrecent",
)
DISK_SIZE = Gauge(
    "percorso_disk_size_bytes",
    "Size of the disk that holds the database, where that is on this machine.",
    ["database"],
    multiprocess_mode="livemostrecent",
)
PARTITION_DAYS = Gauge(
    "percorso_partition_days_left",
    "Days until there is no partition any more: of interactions, of the commit log.",
    ["table"],
    multiprocess_mode="livemostrecent",
)
FOLLOWER_SECONDS = Gauge(
    "percorso_follower_lag_seconds",
    "How long ago that was committed which a follower of the commit log has to take next.",
    ["follower"],
    multiprocess_mode="livemostrecent",
)
FOLLOWER_COMMITS = Gauge(
    "percorso_follower_lag_commits",
    "Commits that a follower of the commit log has still to take; of more than ten thousand it says so many.",
    ["follower"],
    multiprocess_mode="livemostrecent",
)
FOLLOWER_FILLING = Gauge(
    "percorso_follower_filling",
    "1 while a follower has not been through all that was there when it began.",
    ["follower"],
    multiprocess_mode="livemostrecent",
)
DELIVERIES_WAITING = Gauge(
    "percorso_deliveries_waiting",
    "What subscribers are still to be told; of more than a hundred thousand it says so many.",
    ["protocol"],
    multiprocess_mode="livemostrecent",
)
DELIVERIES_OLDEST = Gauge(
    "percorso_deliveries_oldest_seconds",
    "How long ago that was committed which a subscriber is still to be told.",
    ["protocol"],
    multiprocess_mode="livemostrecent",
)
QUARANTINE = Gauge(
    "percorso_quarantine_items",
    "Items in quarantine; of more than a hundred thousand it says so many.",
    ["database"],
    multiprocess_mode="livemostrecent",
)
FEED_READERS = Gauge(
    "percorso_feed_readers", "Streams of the feed, and requests that wait for it.", multiprocess_mode="livesum"
)
FEED_EVENTS = Counter("percorso_feed_events", "Events of the feed that were given: by page, stream or push.", ["way"])


class Described(NamedTuple):
    """A metric: its name as it is asked for, but for the `_bucket`, `_sum` and `_count` of a histogram."""

    name: str
    kind: str
    labels: tuple[str, ...]
    says: str


def every() -> Iterator[Described]:
    """All that the service counts, in the order in which this file has them."""
    for metric in globals().values():
        if isinstance(metric, MetricWrapperBase):
            [family] = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield Described(name, family.type, tuple(metric._labelnames), family.documentation)  # noqa: SLF001 - nothing else says it
