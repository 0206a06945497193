"""From a bundle to an engine that answers: options, settings, the machine's profile, sessions, the way of a request.

In come a verified bundle and what the caller chose; out goes an `Engine`. Imports every room below it; only the
ranker, the measurements and what stands above them import it.
"""
