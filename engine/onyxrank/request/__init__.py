"""Requests and answers as values: what a caller hands in, what a model reads, and what the caller gets back.

In come a history and items, or a table or a file of them; out go checked items and their token ids, and at the end
rankings with hits, cuts and timings. Nothing here runs a model.
It may import `machine`, `checks`, `errors` and the library ``tokenizers``.
"""
