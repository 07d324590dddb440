"""Faults of applications. One file a verb."""
