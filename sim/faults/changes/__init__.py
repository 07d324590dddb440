"""What operators do on purpose: no faults. One file a verb."""
