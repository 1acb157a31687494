"""What the service needs to run: logs, metrics, the embedded PostgreSQL."""
