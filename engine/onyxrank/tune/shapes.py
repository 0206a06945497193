"""Varies the lengths of the sample's requests from run to run, as the lengths in real traffic vary.

Some providers look for kernels when they see a shape for the first time, and OpenVINO then takes up to half as long
again. A race that ran the same few requests over and over would hide that, and could choose a setting that is slower
in service than the one that it beat.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onyxrank.request.token_ids import EncodedRequest, Ragged

_HISTORY_SHARE, _ITEM_SHARE = 8, 16
"""At most one in 8 tokens of a history and one in 16 of the longest item are left out, so that the work stays nearly
the same."""


def shortened(request: EncodedRequest, turn: int) -> EncodedRequest:
    """Return a request whose history and items are a few tokens shorter; the number of items stays the same.

    Args:
        request: the request, which is returned unchanged at turn 0.
        turn: number of the run; each leaves out another number of tokens than the run before.

    """
    history, items = request.history, request.items
    missing = turn % (1 + (len(history) - 2) // _HISTORY_SHARE)
    # The history and each item keep the separator at their end, and each item at least one token before it.
    history = np.concatenate((history[: len(history) - 1 - missing], history[-1:]))
    lengths = items.lengths
    missing = turn % (1 + int(lengths.max(initial=1) - 1) // _ITEM_SHARE)
    drops = np.clip(lengths - 2, 0, missing)
    places = np.arange(len(items.ids)) - np.repeat(items.offsets[:-1], lengths)
    ends = np.repeat(lengths - 1, lengths)
    kept = (places < ends - np.repeat(drops, lengths)) | (places == ends)
    offsets = np.concatenate(([0], np.cumsum(lengths - drops)))
    return replace(request, history=history, items=Ragged(items.ids[kept], offsets))
