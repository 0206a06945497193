"""Reads and writes tensors of the Open Inference Protocol: in JSON, and in the binary form of Triton's clients.

A request of the binary form is a JSON object, whose length a header tells, and after it the bytes of those tensors
that say ``binary_data_size`` in place of their data, in order. A text there is its length in 4 bytes and its UTF-8.
An answer is likewise, for outputs that are asked for with ``binary_data``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from onyxrank.errors import InvalidInput

JSON_LENGTH = "inference-header-content-length"
"""Header with the number of bytes of the JSON object that binary tensors follow."""
_LENGTH = struct.Struct("<I")


class Tensor(BaseModel):
    """A tensor of strings, with its data or the number of its bytes behind the JSON object."""

    name: str
    shape: Annotated[list[int], Field(fail_fast=True)]
    datatype: Literal["BYTES"]
    data: list[Any] | None = Field(None, description="Texts, or lists of texts, as the shape says.")
    parameters: dict[str, Any] | None = None


class Output(BaseModel):
    """An output tensor that the client asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """One history and its items."""

    id: str | None = Field(None, max_length=200)
    inputs: Annotated[list[Tensor], Field(fail_fast=True)]
    outputs: Annotated[list[Output], Field(fail_fast=True)] | None = None
    parameters: dict[str, Any] | None = None

    def wants_binary(self) -> bool:
        """Say whether the answer's tensor is to be in the binary form."""
        everywhere = (self.parameters or {}).get("binary_data_output", False)
        asked = [(output.parameters or {}).get("binary_data", everywhere) for output in self.outputs or []]
        return bool(asked[0] if asked else everywhere)


@dataclass(frozen=True, slots=True)
class Texts:
    """A tensor that was read.

    Attributes:
        shape: its shape, of which at most one axis is longer than 1.
        data: its texts.

    """

    shape: tuple[int, ...]
    data: list[str]


def split(body: bytes, length: str | None) -> tuple[bytes, bytes]:
    """Split a body into its JSON object and what follows it.

    Args:
        body: the whole body.
        length: the header that tells the object's length, or None if there is none.

    Raises:
        InvalidInput: if the header is no length inside the body.

    """
    if length is None:
        return body, b""
    if not (length.isascii() and length.isdigit()) or len(length) > 12 or int(length) > len(body):
        raise InvalidInput(f"{JSON_LENGTH} must be a number of bytes of the body", field=JSON_LENGTH)
    return body[: int(length)], body[int(length) :]


def read(inputs: Sequence[Tensor], behind: bytes, most: int) -> list[Texts]:
    """Read the texts of tensors.

    Args:
        inputs: the tensors of the JSON object.
        behind: the bytes that follow it.
        most: most texts of one tensor.

    Raises:
        InvalidInput: if a tensor's data are not what its shape says, or no texts; it names the tensor.

    """
    texts, begin = [], 0
    for index, tensor in enumerate(inputs):
        place = f"inputs[{index}]"
        size = (tensor.parameters or {}).get("binary_data_size")
        count = _count(tensor, place, most)
        if size is None:
            data = _texts_of_json(tensor, place, most)
        elif isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= len(behind) - begin:
            data = _texts_of_bytes(memoryview(behind)[begin : begin + size], place, count)
            begin += size
        else:
            raise InvalidInput(f"{place}: binary_data_size must be a number of bytes behind the JSON", field=place)
        if len(data) != count:
            raise InvalidInput(
                f"{place}.shape must be [{len(data)}] or [1, {len(data)}], as data has", field=f"{place}.shape"
            )
        texts.append(Texts(tuple(tensor.shape), data))
    if begin != len(behind):
        raise InvalidInput("inputs: there are more bytes behind the JSON than the tensors have", field="inputs")
    return texts


def answer(head: dict[str, Any], scores: Sequence[float], shape: Sequence[int], *, binary: bool) -> Response:
    """Make the answer with the one output, ``score``.

    Args:
        head: what comes before the outputs.
        scores: the data of the output.
        shape: its shape.
        binary: whether to write the data behind the JSON object.

    """
    output: dict[str, Any] = {"name": "score", "datatype": "FP32", "shape": list(shape)}
    if not binary:
        return JSONResponse(head | {"outputs": [output | {"data": list(scores)}]})
    data = struct.pack(f"<{len(scores)}f", *scores)
    output["parameters"] = {"binary_data_size": len(data)}
    text = json.dumps(head | {"outputs": [output]}, separators=(",", ":")).encode()
    return Response(text + data, media_type="application/octet-stream", headers={JSON_LENGTH: str(len(text))})


def _count(tensor: Tensor, place: str, most: int) -> int:
    """Return the number of elements that a tensor's shape says."""
    long = [size for size in tensor.shape if size != 1]
    count = long[0] if long else 1
    if not tensor.shape or len(long) > 1 or count < 0:
        raise InvalidInput(f"{place}.shape must be [n] or [1, n]", field=f"{place}.shape")
    if count > most:
        raise InvalidInput(f"{place}: {count} elements are more than the {most} allowed", field=place)
    return count


def _texts_of_json(tensor: Tensor, place: str, most: int) -> list[str]:
    if tensor.data is None:
        raise InvalidInput(f"{place} has neither data nor a binary_data_size", field=place)
    data = tensor.data
    while len(data) == 1 and isinstance(data[0], list):  # [1, n]
        data = data[0]
    if len(data) <= most:
        data = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in data]  # [n, 1]
    for index, text in enumerate(data):
        if not isinstance(text, str):
            raise InvalidInput(f"{place}.data[{index}] must be a string", field=f"{place}.data[{index}]")
    return data


def _texts_of_bytes(data: memoryview, place: str, count: int) -> list[str]:
    texts: list[str] = []
    at = 0
    while at < len(data) and len(texts) < count:
        if at + _LENGTH.size > len(data):
            raise InvalidInput(f"{place}: its bytes end inside an element", field=place)
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            raise InvalidInput(f"{place}: its bytes end inside an element", field=place)
        try:
            texts.append(str(data[at + _LENGTH.size : end], "utf-8"))
        except UnicodeDecodeError:
            raise InvalidInput(f"{place}: element {len(texts)} is not UTF-8", field=place) from None
        at = end
    if at != len(data):
        raise InvalidInput(f"{place} has more elements than its shape says", field=place)
    return texts
