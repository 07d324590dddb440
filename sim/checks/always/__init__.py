"""Checks that are on in every run. One file each; `catalogue` lists them."""
