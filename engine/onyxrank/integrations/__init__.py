"""onyxrank inside other libraries, a module for each.

Each takes a loaded `onyxrank.Ranker`, which may serve others at the same time, or a bundle's path. A query is the
history; an empty one is a cold start. No document is dropped unless told so, and what is handed in is not changed.
"""
