"""Faults of the control plane and of what it is told. One file a verb."""
