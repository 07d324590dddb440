"""Scenario files: the values they hold, how they are read and checked, their JSON Schema.

Reads and refuses; runs nothing. What a scenario does when it runs stands in `sim.runner`.
"""
