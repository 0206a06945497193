"""A trained BERT's weights as arrays, by what they do in the graphs that are written by hand."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

Array: TypeAlias = NDArray[np.float32]


class Weights:
    """A model's weights as float32 arrays, matrices [in, out], by what they do."""

    def __init__(self, model: PreTrainedModel) -> None:
        config = model.config
        self.layers: int = config.num_hidden_layers
        self.heads: int = config.num_attention_heads
        self.hidden: int = config.hidden_size
        self.head_size: int = config.hidden_size // config.num_attention_heads
        self.epsilon: float = config.layer_norm_eps
        # Of shared-history only: cross has its items right behind the history.
        self.item_position: int = getattr(config, "item_position", 0)
        self._state: dict[str, Array] = {
            name: value.detach().float().numpy() for name, value in model.state_dict().items()
        }

    def linear(self, name: str) -> tuple[Array, Array]:
        """Matrix [in, out] and bias [out]."""
        return self._state[f"{name}.weight"].T, self._state[f"{name}.bias"]

    def norm(self, name: str) -> tuple[Array, Array]:
        """Gain and bias of a layer norm."""
        return self._state[f"{name}.weight"], self._state[f"{name}.bias"]

    def words(self) -> Array:
        """Word embeddings [vocabulary, hidden]."""
        return self._state["bert.embeddings.word_embeddings.weight"]

    def positions(self) -> Array:
        """Position embeddings [positions, hidden]."""
        return self._state["bert.embeddings.position_embeddings.weight"]

    def segments(self) -> Array:
        """Embeddings of the token types [types, hidden]."""
        return self._state["bert.embeddings.token_type_embeddings.weight"]

    def places(self, first: int, count: int, segment: int) -> Array:
        """Embeddings of positions and of their segment, [count, hidden]."""
        return np.asarray(self.positions()[first : first + count] + self.segments()[segment], dtype=np.float32)

    def query(self, layer: int) -> tuple[Array, Array]:
        """The query's projection, scaled."""
        matrix, bias = self.linear(f"bert.encoder.layer.{layer}.attention.self.query")
        scale = np.float32(self.head_size**-0.5)
        return matrix * scale, bias * scale

    def key_and_value(self, layer: int) -> tuple[Array, Array]:
        """The projections of key and value without their biases."""
        attention = f"bert.encoder.layer.{layer}.attention.self"
        return self.linear(f"{attention}.key")[0], self.linear(f"{attention}.value")[0]

    def with_channel(self, matrix: Array, bias: Array, value: float) -> tuple[Array, Array]:
        """A projection to all heads with one more channel at the end of each: that value, whatever is projected."""
        wider = np.pad(matrix.reshape(self.hidden, self.heads, self.head_size), ((0, 0), (0, 0), (0, 1)))
        biases = np.pad(bias.reshape(self.heads, self.head_size), ((0, 0), (0, 1)), constant_values=value)
        return wider.reshape(self.hidden, -1), biases.reshape(-1)

    def attention_output(self, layer: int) -> tuple[Array, Array]:
        """The projection after attention; its bias carries the value's."""
        attention = f"bert.encoder.layer.{layer}.attention"
        matrix, bias = self.linear(f"{attention}.output.dense")
        return matrix, bias + self.linear(f"{attention}.self.value")[1] @ matrix
