"""The HTTP server (extra `serve`): the engine's own API, and the shapes that clients of other rerankers send."""
