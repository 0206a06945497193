"""Graphs that run: the `Session` protocol, ONNX Runtime behind it, and what providers and devices ask for.

In come a graph's file and the edges it must have; arrays go in by name and come out in order.
It knows nothing of requests or architectures. Imports `machine`.
"""
