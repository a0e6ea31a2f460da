"""CLIP and its kin as networks that keep samples apart: pairs of picture and text, one tower, or a classifier.

Radford et al. 2021: a picture and a text are as alike as the cosine of their features, times a learned scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class _Towers(nn.Module):
    """Holds the model as `clip`, and says what its towers put out, each of length one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.clip = model

    def _picture(self, pixel_values: Tensor) -> Tensor:
        model: Any = self.clip
        return _unit(model.get_image_features(pixel_values=pixel_values))

    def _text(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        model: Any = self.clip
        return _unit(model.get_text_features(input_ids=input_ids, attention_mask=attention_mask))

    def _scaled(self, cosine: Tensor) -> Tensor:
        model: Any = self.clip
        scaled: Tensor = cosine * model.logit_scale.exp()
        bias = getattr(model, "logit_bias", None)  # SigLIP has one
        return scaled if bias is None else scaled + bias


class PairOfTowers(_Towers):
    """How alike each picture and its text are: `[batch, 1]`."""

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        pixel_values: Float[Tensor, "batch channels height width"],
        attention_mask: Tensor | None = None,
    ) -> Float[Tensor, "batch 1"]:
        """The scaled cosine between the two."""
        return self._scaled((self._picture(pixel_values) * self._text(input_ids, attention_mask)).sum(1, keepdim=True))


class ImageTower(_Towers):
    """A picture's features, of length one: `[batch, features]`."""

    def forward(self, pixel_values: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """The features that texts are compared with."""
        return self._picture(pixel_values)


class TextTower(_Towers):
    """A text's features, of length one: `[batch, features]`."""

    def forward(
        self, input_ids: Int[Tensor, "batch tokens"], attention_mask: Tensor | None = None
    ) -> Float[Tensor, "batch features"]:
        """The features that pictures are compared with."""
        return self._text(input_ids, attention_mask)


class TextClassifier(_Towers):
    """Which of some texts fits a picture: a score for each, `[batch, texts]`."""

    texts: Tensor

    def __init__(self, model: nn.Module, texts: Float[Tensor, "texts features"]) -> None:
        super().__init__(model)
        self.register_buffer("texts", texts)

    def forward(self, pixel_values: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch texts"]:
        """The scaled cosine with each text."""
        return self._scaled(self._picture(pixel_values) @ self.texts.T)


def classifier(model: nn.Module, texts: Iterable[Mapping[str, Tensor]]) -> TextClassifier:
    """A classifier of pictures between texts, given as token ids one by one; their features are worked out once."""
    towers = TextTower(model)
    with torch.no_grad():
        return TextClassifier(model, torch.cat([towers(t["input_ids"], t.get("attention_mask")) for t in texts]))


def _unit(features: Any) -> Tensor:
    v: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    size: Tensor = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return v / size
