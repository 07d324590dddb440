"""Faults of the network between hosts. One file a verb."""
