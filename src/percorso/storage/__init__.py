"""The only place with SQL that writes; one noun a file."""
