"""Graphs that can be run: the `Session` protocol, ONNX Runtime behind it, and what its providers and devices need.

In come a graph's file and the inputs and outputs that it must have; out comes a session, which takes arrays by name
and returns arrays in order. A session does not know what a request, a history or an item is.
It may import `machine`.
"""
