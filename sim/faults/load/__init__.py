"""Load that comes unexpected. One file a verb."""
