"""CLIP and its kin opened: a classifier of pictures between texts, one of the towers, or pairs scored together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from pellucid.core.errors import BadInput, BadModel
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.tensors import Tensors
from pellucid.doors.files import printable
from pellucid.doors.pictures.reading import read
from pellucid.doors.transformers.clip import ImageTower, PairOfTowers, TextTower, classifier
from pellucid.doors.transformers.text import TextReader

_HOW = "Name the texts between which it decides: pl.open(folder, labels=('a photo of a cat', ...)), or --labels FILE."


@dataclass(frozen=True, slots=True)
class PairReader:
    """Reads a picture and a text as the inputs of both towers."""

    text: TextReader | None

    def __call__(self, net: Network, given: Any) -> Tensors:
        """Both by name.  Raises `BadInput` for anything but a picture and a text, or without a tokenizer."""
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise BadInput(
                f"{net.name} scores a picture and a text together; a {type(given).__name__} was given.",
                f"net.read((picture, text)). {_HOW}",
            )
        if self.text is None:
            raise BadInput(f"{net.name} holds no tokenizer, so texts cannot be read.", "Give token ids.")
        picture, said = given
        return {"pixel_values": read(net, picture), **self.text(net, said)}


def open_towers(
    model: nn.Module,
    name: str,
    source: str,
    preparation: Preparation | None,
    text: TextReader | None,
    texts: Sequence[str],
    tower: str,
    notes: Sequence[str],
) -> Network:
    """CLIP and its kin: a classifier between `texts`, one `tower` ("image" or "text"), or both, for pairs.

    Raises `BadModel` for a tower that there is not, and for texts without a tokenizer.
    """
    if tower not in ("", "image", "text"):
        raise BadModel(f"There is no tower {printable(tower)!r}.", "The towers are image and text.")
    words = text.words if text else None
    if tower == "text":
        return Network(TextTower(model).eval(), name=name, source=source, reader=text, words=words, notes=notes)
    if tower == "image":
        seen = ImageTower(model).eval()
        return Network(seen, preparation=preparation, name=name, source=source, reader=read, notes=notes)
    pairs = Network(
        PairOfTowers(model).eval(), preparation=preparation, name=name, source=source, reader=PairReader(text),
        words=words,
        notes=(*notes, "A picture and a text are scored together; labels=(...) makes a classifier of pictures."),
    )  # fmt: skip
    return between(pairs, texts) if texts else pairs


def between(net: Network, texts: Sequence[str]) -> Network:
    """A classifier of pictures between texts, made of a network of pairs; any other network as it is.

    Raises `BadModel` when the folder holds no tokenizer.
    """
    if not isinstance(net.model, PairOfTowers) or not isinstance(net.reader, PairReader):
        return net
    if net.reader.text is None:
        raise BadModel(f"{printable(net.name)} holds no tokenizer, so texts cannot be read.", "Put it into the folder.")
    made = classifier(net.model.clip, map(net.reader.text.encoded, texts)).eval()
    notes = (*net.notes[:-1], "Its classes are the texts given: a score is the cosine with each, times its scale.")
    return Network(
        made, labels=texts, preparation=net.preparation, name=net.name, source=net.source, reader=read, notes=notes
    )
