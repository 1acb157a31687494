"""How fast percorso is against the database's own limit, measured."""
