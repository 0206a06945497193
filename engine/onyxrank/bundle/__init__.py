"""The bundle: the folder that export writes and the engine loads.

The room reads and writes the manifest, verifies the files that it lists, and chooses among a bundle's variants.
In comes a path; out goes a verified `Bundle`, or an error that names the file or the key at fault.
It may import `machine`, `sessions`, `request` and the registry of `architectures`, but never the tokenizer's library.
"""
