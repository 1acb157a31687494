"""The only place with SQL that reads; one question a file."""
