"""Architectures: all that a kind of model decides is in one object, and no other room knows them apart.

In come token ids and open sessions; out go the steps of a call with their costs, the margins that they compute, and
the probabilities that the readout makes of these. `registry` lists the architectures.
It may import `sessions`, `request` and what is below them, but never the tokenizer's library.
"""
