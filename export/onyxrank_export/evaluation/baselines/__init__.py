"""What a model has to beat, on the same lists.

Popularity and rarity, BM25, the untrained encoder, co-purchases, item-kNN, EASE, and the conditional logit of them
all. Each module has one; `fitted` makes those that apply to some data. What they learn from is the training part,
what they choose by is the validation part.
"""
