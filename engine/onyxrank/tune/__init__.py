"""Finds the fastest setting of a bundle on this machine; see `tuning`."""
