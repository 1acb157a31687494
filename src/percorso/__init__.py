"""percorso: every interaction with a customer in, every customer's journey out."""
