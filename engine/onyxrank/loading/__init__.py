"""Makes an engine of a bundle: options, the machine's profile, the choice of a setting, and the running parts.

In come a verified bundle and the options that the caller chose; out goes an `Engine`, which holds the whole way of a
request from texts to a ranking.
It may import `bundle`, `scheduling` and every room below them.
"""
