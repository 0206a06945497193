"""The folder that export writes: its manifest as values, opened and verified, or written whole.

In comes a path; out goes a verified `Bundle`, or an error that names the file and the key at fault.
Imports `architectures` for the roles of the graphs, and never the tokenizer's library.
"""
