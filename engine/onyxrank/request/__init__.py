"""What comes in and what goes out, as values.

In come a history, items or a table of them; out go checked items, their token ids, and at the end the ranking with
its hits, cuts and timings. Nothing here runs a model. Imports only `errors`, `checks` and the library `tokenizers`.
"""
