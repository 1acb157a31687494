"""The routes: parse, call, render. No SQL and no rules."""
