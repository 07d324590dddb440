"""The timeline: what is done to a running mesh, when, and whether it was felt."""
