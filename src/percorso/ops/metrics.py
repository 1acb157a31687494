"""What the service counts, for Prometheus. Labels never carry anything personal or unbounded."""

from prometheus_client import Counter, Gauge, Histogram

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
SHED = Counter("percorso_http_shed", "Requests refused since too many were in progress.")
AUDITED = Counter("percorso_audited_reads", "Reads of a single customer written to the audit log.")
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
DELIVERIES = Counter(
    "percorso_deliveries", "What came of telling subscribers: taken, failed (it is tried again), given_up.", ["what"]
)
