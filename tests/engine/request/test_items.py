import numpy as np
import pytest

from onyxrank import InvalidInput, Item
from onyxrank.request.items import to_items


@pytest.mark.parametrize("identity", [12, 12.0, np.int64(12), np.uint8(12), np.float32(12), np.float64(12)], ids=repr)
def test_whole_numbers_are_ids_as_in_training(identity):
    mapping, item = to_items([{"id": identity, "title": "tent"}, Item(identity, "tent")])
    assert mapping.id == item.id == "12"


@pytest.mark.parametrize(
    "identity", [12.5, float("nan"), float("inf"), 2.0**53, True, None, np.bool_(True)], ids=repr
)
def test_other_numbers_are_no_ids(identity):
    with pytest.raises(InvalidInput) as caught:
        to_items([{"id": identity, "title": "tent"}])
    assert (caught.value.field, caught.value.index) == ("id", 0)
