"""Runs a scenario on real processes of this machine: the same file, the same timeline, the same checks.

Each instance and each place of users has a loopback address; its sidecar, its application and its users are processes.
"""
