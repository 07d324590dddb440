"""Faults of certificates, authorities and tokens. One file a verb."""
