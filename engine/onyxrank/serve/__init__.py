"""The HTTP server (extra `serve`): the engine's own API, those of other rerankers, and a page for people.

In comes `ServeSettings`, which names a bundle; out go answers over HTTP, and a log and metrics without any text.
A request passes `context`, `access`, `body` and `shedding`, in this order, before one of the routes ranks through
`service`. `run` starts the processes and `app` puts one of them together.
The room may import the engine's rooms below it and `Ranker`, but nothing of `cli`, which starts it by name.
"""
