"""Faults of machines: power, processors, clocks, disks. One file a verb."""
