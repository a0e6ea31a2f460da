"""Words that a target likes: real ones, at their real score, found where the gradient points."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from tests.traces import of_model


class Reader(nn.Module):
    """Words, places, a layer that mixes them, and two scores."""

    def __init__(self, words: int = 12, width: int = 6) -> None:
        super().__init__()
        self.table, self.place = nn.Embedding(words, width), nn.Embedding(4, width)
        self.mix = nn.TransformerEncoderLayer(width, 2, 8, dropout=0.1, batch_first=True)
        self.out = nn.Linear(width, 2)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids) + self.place(torch.arange(ids.shape[1]))
        return self.out(self.mix(x).mean(1))


class Sum(nn.Module):
    """A text's score is the sum of its words' own: the best text is known."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.table(ids).sum(1)


def test_the_best_text_of_a_sum_is_its_best_word_everywhere() -> None:
    torch.manual_seed(0)
    net = Sum()
    found = pl.dream.words(net, pl.logit(0), torch.zeros(1, 5, dtype=torch.long), steps=20)
    best = int(net.table.weight.argmax())
    assert found.ids.tolist() == [[best] * 5]
    assert found.scores[0] == pytest.approx(5 * net.table.weight.detach().max().item())
    held = pl.dream.words(net, pl.logit(0), torch.zeros(1, 5, dtype=torch.long), places=[1, -1], avoid=[best])
    second = int(net.table.weight[:, 0].topk(2).indices[1])
    assert held.ids.tolist() == [[0, second, 0, 0, second]]


def test_all_replacements_tried_is_greedy_search() -> None:
    torch.manual_seed(3)
    net = Reader().eval()
    start = torch.tensor([[1, 2, 3]])
    found = pl.dream.words(net, [pl.logit(1), -pl.logit(1)], start, steps=1, tried=3 * 11)
    with torch.no_grad():
        texts = []
        for place, word in itertools.product(range(3), range(12)):
            text = start.clone()
            text[0, place] = word
            texts.append(text)
        scores = net(torch.cat(texts))[:, 1]
    assert found.scores[0] == pytest.approx(float(scores.max()), abs=1e-5)
    assert found.scores[1] == pytest.approx(float(-scores.min()), abs=1e-5)


def test_scores_are_those_of_the_text_and_never_fall() -> None:
    torch.manual_seed(1)
    net = Reader()
    before = of_model(net)
    found = pl.dream.words(net, [pl.logit(0), pl.logit(1)], torch.tensor([[0, 1, 2, 3]]), steps=12, tried=6)
    assert of_model(net) == before
    net.eval()
    with torch.no_grad():
        again = net(found.ids)
    assert found.scores == pytest.approx([float(again[0, 0]), float(again[1, 1])], abs=1e-5)
    assert bool((found.curve.diff(dim=1) >= 0).all())
    assert found.curve[:, 0].tolist() == pytest.approx(list(found.before))


def test_words_are_spelled_and_shown() -> None:
    net = Sum()
    found = pl.dream.words(net, pl.logit(0), torch.zeros(1, 2, dtype=torch.long), spell=lambda i: f"<word {i}>")
    assert found.spelled[0][0] == f"<word {int(found.ids[0, 0])}>"
    assert "&lt;word" in found._repr_html_() and "<word" not in found._repr_html_()


def test_what_cannot_be_dreamed_is_refused() -> None:
    ids = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(pl.BadModel, match="embedding table"):
        pl.dream.words(nn.Linear(3, 2), pl.logit(0), torch.ones(1, 3))
    for places in ([3], [], [0, -4]):
        with pytest.raises(pl.BadInput, match="tokens 0 to 2"):
            pl.dream.words(Sum(), pl.logit(0), ids, places=places)
    with pytest.raises(pl.BadInput, match="One text"):
        pl.dream.words(Sum(), pl.logit(0), ids.expand(2, 3))
    with pytest.raises(pl.BadOption, match="steps=0"):
        pl.dream.words(Sum(), pl.logit(0), ids, steps=0)
