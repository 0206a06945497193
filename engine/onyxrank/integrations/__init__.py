"""onyxrank inside other libraries, with one module for each library.

In comes a loaded `onyxrank.Ranker`, which may serve others at the same time, or a bundle's path; out come the
library's own objects, best first. The query is ranked as a history, and an empty query is a cold start. No document
is left out unless the caller limits their number, and the caller's objects are not changed.
The room may import `Ranker` and `request` and the library itself, but no other integration.
"""
