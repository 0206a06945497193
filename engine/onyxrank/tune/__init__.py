"""Tuning: finds the fastest setting of a bundle on this machine that ranks as fp32 does.

In come a bundle and `TuneOptions`; out goes a `Profile`, which `Ranker.load` reads, or a slim bundle for the machine.
`tuning` tells the steps in their order; `race` measures settings against each other, `agreement` compares scores.
The room may import the engine's rooms below it and `measure`, but nothing of `cli` or `serve`.
"""
