"""A trained BERT's weights as NumPy arrays, in the form in which the hand-written graphs need them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

Array: TypeAlias = NDArray[np.float32]


class Weights:
    """A model's weights as float32 arrays; matrices are [in, out], as ``rows @ matrix`` needs them.

    Args:
        model: a plain BERT, with or without a classifier.

    """

    def __init__(self, model: PreTrainedModel) -> None:
        config = model.config
        self.layers: int = config.num_hidden_layers
        self.heads: int = config.num_attention_heads
        self.hidden: int = config.hidden_size
        self.head_size: int = config.hidden_size // config.num_attention_heads
        self.epsilon: float = config.layer_norm_eps
        # Of shared-history only: cross has its items right behind the history.
        self.item_position: int = getattr(config, "item_position", 0)
        # The names in an encoder without a classifier have no prefix.
        prefix = "" if hasattr(model, "bert") else "bert."
        self._state: dict[str, Array] = {
            prefix + name: value.detach().float().numpy() for name, value in model.state_dict().items()
        }

    def linear(self, name: str) -> tuple[Array, Array]:
        """The matrix [in, out] and bias [out] of a linear layer, by its name in the model."""
        return self._state[f"{name}.weight"].T, self._state[f"{name}.bias"]

    def norm(self, name: str) -> tuple[Array, Array]:
        """The gain and bias of a layer norm, each [hidden], by its name in the model."""
        return self._state[f"{name}.weight"], self._state[f"{name}.bias"]

    def words(self) -> Array:
        """The word embeddings [vocabulary, hidden]."""
        return self._state["bert.embeddings.word_embeddings.weight"]

    def positions(self) -> Array:
        """The position embeddings [positions, hidden]."""
        return self._state["bert.embeddings.position_embeddings.weight"]

    def segments(self) -> Array:
        """The embeddings of the token types [types, hidden]."""
        return self._state["bert.embeddings.token_type_embeddings.weight"]

    def places(self, first: int, count: int, segment: int) -> Array:
        """The sums of position and segment embedding of `count` positions from `first` on: [count, hidden]."""
        return np.asarray(self.positions()[first : first + count] + self.segments()[segment], dtype=np.float32)

    def query(self, layer: int) -> tuple[Array, Array]:
        """The query's projection of a layer, multiplied by 1/√d: matrix [hidden, hidden] and bias [hidden]."""
        matrix, bias = self.linear(f"bert.encoder.layer.{layer}.attention.self.query")
        scale = np.float32(self.head_size**-0.5)
        return matrix * scale, bias * scale

    def key_and_value(self, layer: int) -> tuple[Array, Array]:
        """The matrices [hidden, hidden] of a layer's key and value; `bert_layers` says where their biases go."""
        attention = f"bert.encoder.layer.{layer}.attention.self"
        return self.linear(f"{attention}.key")[0], self.linear(f"{attention}.value")[0]

    def with_channel(self, matrix: Array, bias: Array, value: float) -> tuple[Array, Array]:
        """Give each head of a projection one more channel at its end, which has `value` whatever is projected.

        Returns:
            Matrix [hidden, hidden + heads] and bias [hidden + heads].

        """
        wider = np.pad(matrix.reshape(self.hidden, self.heads, self.head_size), ((0, 0), (0, 0), (0, 1)))
        biases = np.pad(bias.reshape(self.heads, self.head_size), ((0, 0), (0, 1)), constant_values=value)
        return wider.reshape(self.hidden, -1), biases.reshape(-1)

    def attention_output(self, layer: int) -> tuple[Array, Array]:
        """The projection after attention of a layer, with the value's bias multiplied into its own."""
        attention = f"bert.encoder.layer.{layer}.attention"
        matrix, bias = self.linear(f"{attention}.output.dense")
        return matrix, bias + self.linear(f"{attention}.self.value")[1] @ matrix
