"""Kuma 2.14's spellings, rewritten to 3.0's before a document is read: see `rewriting` for how, the other files for what.

Kuma 3.0 only took things away, so that a document that is right in 3.0 means there what it meant before: only what
3.0 refuses is looked at here. What cannot be rewritten without changing its meaning is left, or said to be wrong.
"""
