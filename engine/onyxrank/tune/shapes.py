"""Requests of ever other shapes, as those of real traffic are.

Some providers find kernels for each shape they have not seen, and OpenVINO takes up to half as long again for that. A
race over the same few requests would hide it, and choose a setting that is slower in service than the one it beat.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onyxrank.request.token_ids import EncodedRequest, Ragged

_HISTORY_SHARE, _ITEM_SHARE = 8, 16
"""Of a history, and of the longest item, at most one token in so many is left out: the work stays nearly the same."""


def shortened(request: EncodedRequest, turn: int) -> EncodedRequest:
    """The request as the next one might be: a few tokens shorter, and as many items.

    Args:
        request: as it is at turn 0.
        turn: turns that follow each other leave out different numbers of tokens.

    """
    history, items = request.history, request.items
    missing = turn % (1 + (len(history) - 2) // _HISTORY_SHARE)
    # Each segment keeps its separator, and each item a token before it.
    history = np.concatenate((history[: len(history) - 1 - missing], history[-1:]))
    lengths = items.lengths
    missing = turn % (1 + int(lengths.max(initial=1) - 1) // _ITEM_SHARE)
    drops = np.clip(lengths - 2, 0, missing)
    places = np.arange(len(items.ids)) - np.repeat(items.offsets[:-1], lengths)
    ends = np.repeat(lengths - 1, lengths)
    kept = (places < ends - np.repeat(drops, lengths)) | (places == ends)
    offsets = np.concatenate(([0], np.cumsum(lengths - drops)))
    return replace(request, history=history, items=Ragged(items.ids[kept], offsets))
