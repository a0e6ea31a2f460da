"""Text for a Hugging Face network: its own tokenizer, from the folder, and what its token ids mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.tensors import Tensors
from pellucid.doors.files import file_bytes, printable
from pellucid.doors.transformers.files import optional

_TEXT = 1 << 20
_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


@dataclass(frozen=True, slots=True)
class TextReader:
    """Reads a text, or several of equal length, as a network's inputs by name; says what token ids mean.

    `longest`: the number of tokens that the network has positions for (0: not known).  `start`: the token id that a
    decoder starts with, where there is one.  `full`: the network was trained on texts padded to that number only.
    """

    tokenizer: Any
    longest: int = 0
    start: int | None = None
    full: bool = False

    def encoded(self, texts: str | list[str]) -> Tensors:
        """Token ids and the mask of what is a token, as the network was trained on them."""
        several: dict[str, Any] = {"padding": "max_length", "max_length": self.longest} if self.full else {}
        if not self.full and not isinstance(texts, str):
            several = {"padding": len(texts) > 1, "padding_side": "right"}
        found = self.tokenizer([texts] if isinstance(texts, str) else texts, return_tensors="pt", **several)
        return {k: v for k, v in found.items() if k in ("input_ids", "attention_mask")}

    def __call__(self, net: Network, text: Any) -> Tensors:
        """Token ids and the mask of what is a token, `[batch, tokens]`, int64.  Raises `BadInput` for what is no text.

        Texts of different lengths are padded at the end.
        """
        texts = [text] if isinstance(text, str) else list(text) if isinstance(text, Sequence) else []
        if not texts or not all(isinstance(t, str) and t for t in texts):
            raise BadInput(
                f"A {type(text).__name__} was given, expected a text or a list of texts.", "net.read('...')."
            )
        found = self.encoded(texts)
        length = found["input_ids"].shape[1]
        if self.longest and length > self.longest:
            raise BadInput(f"The text has {length} tokens; {net.name} takes up to {self.longest}.", "Shorten it.")
        if length == 0:
            raise BadInput("The text has no token that this network knows.", "Write words.")
        if self.start is not None:
            found["decoder_input_ids"] = torch.full((len(texts), 1), self.start)
        return {k: found[k] for k in net.inputs if k in found}

    def words(self, ids: Tensor) -> tuple[str, ...]:
        """What each token id of one sample stands for, as it is read: words keep the space before them."""
        tokens = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        return tuple(self._plain(t, int(i)) for t, i in zip(tokens, ids, strict=True))

    def _plain(self, token: str | None, number: int) -> str:
        if token is None or token.startswith("##") or number in self.tokenizer.all_special_ids:
            return str(token)
        return str(self.tokenizer.decode([number], clean_up_tokenization_spaces=False)) or token


def text_of(net: Network, given: str | Path) -> str | Path:
    """What a text file says, for a network of words; any other text as it is.

    Raises `BadInput` for a file of another kind, rather than explain its name.
    """
    path = Path(given)
    try:
        if not path.is_file():
            return given
    except (OSError, ValueError):  # too long, or with characters that no name has
        return given
    if path.suffix.lower() not in (".txt", ".md"):
        raise BadInput(
            f"{printable(path.name)} is a file; {net.name} explains a text.", "Give the text, or a .txt file."
        )
    try:
        return file_bytes(path, _TEXT).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise BadInput(f"{printable(path.name)} is not a UTF-8 text file.", "Save it as UTF-8.") from None


def reader_in(folder: Path, package: Any, config: Any) -> tuple[TextReader | None, str]:
    """The reader made of the folder's tokenizer, or None and a sentence that says why there is none."""
    if not any((folder / name).is_file() for name in _FILES):
        return None, "The folder holds no tokenizer: give token ids."
    if "auto_map" in optional(folder / "tokenizer_config.json"):
        return None, "The tokenizer needs Python code of its own, which is never run: give token ids."
    try:
        tokenizer = package.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each of a hundred tokenizers fails in its own way
        reason = printable(str(error).partition("\n")[0])
        return None, f"The tokenizer cannot be built ({type(error).__name__}: {reason}): give token ids."
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    text = getattr(config, "text_config", config)
    longest = int(getattr(text, "max_position_embeddings", 0) or getattr(text, "n_positions", 0) or 0)
    start = getattr(config, "decoder_start_token_id", None) if getattr(config, "is_encoder_decoder", False) else None
    return TextReader(tokenizer, longest, start, str(text.model_type).startswith("siglip")), ""
