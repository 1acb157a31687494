"""Faults: real clients against real processes that are killed, starved and cut off, and every id accounted for.

A scenario is an async test. It takes a `cluster` (a PostgreSQL server of its own, migrated), starts a `Service` on it
and a `Load` against that, makes its fault as often as the `form` says, and lets `Trial.settle` send again what was not
acknowledged and hold every id against the tables. The figures become a row of the report that is printed at the end.
"""
