"""Promises about a run: expressions over what users and sidecars saw, and the built-in invariants."""
