"""What late-interaction learns beside its encoder, in the order in which it is learnt.

`vectors` encodes the catalogue once, `maps` learns linear maps and residuals of these vectors, `neighbours` takes
weights from co-purchases, `popularity` counts, and `weighing` says on validation lists how much each of them counts.
`fitting` calls them all, and `training` is the way from data to a run folder.
"""
