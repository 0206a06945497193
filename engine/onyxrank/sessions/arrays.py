"""What goes into a graph and comes out of it: arrays in the host's memory, and arrays that stay on a device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

ORT_TYPES: Mapping[type[np.generic], str] = {
    np.bool_: "tensor(bool)",
    np.int8: "tensor(int8)",
    np.uint8: "tensor(uint8)",
    np.int32: "tensor(int32)",
    np.int64: "tensor(int64)",
    np.float16: "tensor(float16)",
    np.float32: "tensor(float)",
    np.float64: "tensor(double)",
}
"""What onnxruntime calls a tensor of each type."""


class DeviceArray:
    """An array that one graph answered and another one reads, without a copy through the host. Immutable.

    Args:
        value: onnxruntime's ``OrtValue``, in any memory.

    """

    __slots__ = ("dtype", "nbytes", "shape", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.shape: tuple[int, ...] = tuple(value.shape())
        self.dtype = np.dtype(next(kind for kind, name in ORT_TYPES.items() if name == value.data_type()))
        self.nbytes: int = math.prod(self.shape) * self.dtype.itemsize

    def numpy(self) -> NDArray[Any]:
        """A copy in the host's memory."""
        return np.array(self.value.numpy())


Array: TypeAlias = "NDArray[Any] | DeviceArray"
Feeds: TypeAlias = Mapping[str, Array]
"""Arrays by input name, of the types that `Graph.inputs` says."""


def on_host(array: Array) -> NDArray[Any]:
    """The array in the host's memory, copied only if it is on a device."""
    return array.numpy() if isinstance(array, DeviceArray) else array
