"""Measuring on this machine: latency of several ways side by side, throughput, memory, and what others take of it.

In come bundles and the size of a request; out goes a `BenchReport`, whose figures become JSON, a table or a page.
`bench` tells the steps in their order; a way is any implementation that ranks, such as the engine or eager PyTorch.
The room may import the engine's rooms below it and `Ranker`, but nothing of `cli` or `serve`.
"""
