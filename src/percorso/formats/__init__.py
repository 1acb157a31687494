"""Pure functions between foreign payloads and interactions."""
