"""Methods that read attention: planted truth, what they refuse, and each held against its definition."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadModel, BadOption
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import log_odds, logit
from tests.attention_methods import METHODS, every_method, maps, patches, values
from tests.attention_models import Block, Two, ViT, pictures, words
from tests.networks import randomized

# Planted truth


class Planted(nn.Module):
    """The class token looks at the patch that is brightest in channel 0, and its value decides the class."""

    def __init__(self, prefix: int = 1, sharp: float = 6.0) -> None:
        super().__init__()
        self.prefix, self.sharp = prefix, sharp
        self.cut = nn.Conv2d(2, 2, 2, 2, bias=False)
        with torch.no_grad():
            self.cut.weight.zero_()
            self.cut.weight[0, 0] = self.cut.weight[1, 1] = 0.25

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.zeros_like(tokens[:, :1]).expand(-1, self.prefix, -1), tokens], 1)
        for _ in range(2):
            bright, value = tokens[..., :1], tokens[..., 1:]
            query = torch.zeros_like(bright)
            query[:, 0] = self.sharp
            looked = F.scaled_dot_product_attention(query, bright, value, scale=1.0)
            tokens = torch.cat([bright, torch.cat([value[:, :1] + looked[:, :1], value[:, 1:]], 1)], -1)
        return torch.cat([tokens[:, 0, 1:], -tokens[:, 0, 1:]], 1)


@every_method
@pytest.mark.parametrize("prefix", [1, 2, 5])
def test_the_patch_that_decides_is_found(name: str, prefix: int) -> None:
    x = torch.zeros(6, 2, 6, 4)
    for place in range(6):
        row, column = divmod(place, 2)
        x[place, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 1
    found = METHODS[name](Planted(prefix), x, 0)
    assert patches(found.values).argmax(1).tolist() == list(range(6))
    assert found.facts["tokens before the patches"] == prefix and found.resolution == (3, 2)


@pytest.mark.parametrize("name", ["attention_relevance", "le_grad"])
def test_what_speaks_against_the_target_is_cut_away(name: str) -> None:
    x = torch.zeros(1, 2, 6, 4)
    x[:, :, 2:4, 2:4] = 1
    assert patches(values(name, Planted(), x, 0)).argmax(1).tolist() == [3]
    assert patches(values(name, Planted(), x, 1))[0, 3] <= 1e-7


class Answering(nn.Module):
    """The first word looks at the patch whose channel 0 is the word's number; the answer is its channel 1."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.cut = nn.Embedding(8, 2), nn.Conv2d(2, 2, 2, 2, bias=False)
        with torch.no_grad():
            self.table.weight.copy_(torch.stack([torch.arange(8.0), torch.zeros(8)], 1))
            self.cut.weight.zero_()
            self.cut.weight[0, 0] = self.cut.weight[1, 1] = 0.25

    def forward(self, words: Tensor, picture: Tensor) -> Tensor:
        t, i = self.table(words)[..., :1], self.cut(picture).flatten(2).transpose(1, 2)
        weights = (-4 * (t - i[..., :1].transpose(1, 2)).square()).softmax(-1)
        answer = t + weights @ i[..., 1:]
        return torch.cat([answer[:, 0], -answer[:, 0]], 1)


@pytest.mark.parametrize("name", ["raw_attention", "attention_relevance"])
def test_the_patch_that_a_word_asks_for_is_found(name: str) -> None:
    picture = torch.stack([torch.arange(6.0).view(3, 2), torch.ones(3, 2)])[None].repeat(4, 1, 1, 1)
    x = {"words": torch.tensor([[0, 5], [2, 5], [3, 1], [5, 0]]), "picture": F.interpolate(picture, scale_factor=2)}
    found = maps(name, Answering(), x, 0)["picture"]
    assert patches(found).argmax(1).tolist() == [0, 2, 3, 5]


class Next(nn.Module):
    """A causal model of words that is read at its last one, or one that the target names."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(11, 8), nn.Linear(8, 11)
        randomized(self, 0)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        h = F.scaled_dot_product_attention(x, x, x, is_causal=True)
        return self.head(x + h)


@every_method
def test_what_comes_after_the_position_that_is_read_gets_nothing(name: str) -> None:
    ids = words(3, 6)
    for at in (2, 4):
        found = values(name, Next(), ids, pl.token(at, 3))
        assert found.shape == (3, 6, 1)
        assert bool(found[:, : at + 1].any()) and not bool(found[:, at + 1 :].any())
    first = values("raw_attention", Next(), ids, pl.token(4, 3), position=0)
    torch.testing.assert_close(first[:, :, 0], torch.eye(6)[:1].repeat(3, 1))


@every_method
def test_an_inner_value_is_explained_by_the_attention_before_it(name: str) -> None:
    net, x = Network(ViT()), pictures()
    whole = METHODS[name](net, x, 1)
    found = METHODS[name](net, x, pl.channel("blocks.1", 3))
    assert (found.facts["layers"], whole.facts["layers"]) == (2, 3)
    both = METHODS[name](net, x, pl.channel("blocks.1", 3) + pl.logit(1))
    assert both.facts["layers"] == 3


# What cannot be done is said


class Windows(nn.Module):
    """Attention within four windows of four patches, as Swin has it."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.head = nn.Conv2d(2, 8, 2, 2), nn.Linear(8, 3)
        randomized(self, 0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x)
        b, c, h, w = x.shape
        x = x.view(b, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 3, 5, 1).reshape(b * 4, 1, h * w // 4, c)
        x = (x @ x.mT).softmax(-1) @ x
        return self.head(x.reshape(b, -1, c).mean(1))


@every_method
def test_windows_are_refused(name: str) -> None:
    with pytest.raises(BadModel, match="within 4 windows"):
        METHODS[name](Windows(), torch.randn(2, 2, 8, 8), 1)


class Channels(nn.Module):
    """Channels that look at each other (cross-covariance attention), as many as there are patches and one."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.head = nn.Conv2d(2, 14, 2, 2), nn.Linear(14, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x).flatten(2).unflatten(1, (2, 7))
        x = (x @ x.mT).softmax(-1) @ x
        return self.head(x.flatten(1, 2).mean(2))


@every_method
def test_channels_that_look_at_each_other_are_no_tokens(name: str) -> None:
    with pytest.raises(BadModel, match=r"over 7 things at ':softmax\.0' that are no tokens"):
        METHODS[name](Channels(), pictures(), 1)


class Pooled(nn.Module):
    """Two resolutions, pooled by a convolution between them."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.pool, self.head = nn.Conv2d(2, 8, 2, 2), nn.Conv2d(8, 8, (1, 2)), nn.Linear(8, 3)
        self.first, self.second = Block(8), Block(8)
        randomized(self, 0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.cut(x).flatten(2).transpose(1, 2))
        x = self.pool(x.transpose(1, 2).unflatten(2, (3, 2)))
        return self.head(self.second(x.flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("name", ["attention_rollout", "attention_relevance"])
def test_tokens_that_are_handed_on_by_something_else_are_not_followed(name: str) -> None:
    with pytest.raises(BadModel, match="hands 6 tokens on to 3 others"):
        METHODS[name](Pooled(), pictures(), 1)


def test_le_grad_says_which_layers_it_leaves_out() -> None:
    found = METHODS["le_grad"](Pooled(), pictures(), 1)
    assert found.resolution == (3, 1) and found.facts["layers"] == 1
    assert any("1 of 2 layers" in note for note in found.notes)


@every_method
def test_a_network_without_attention_is_refused(name: str) -> None:
    with pytest.raises(BadModel, match="no attention that can be seen"):
        METHODS[name](nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(45, 3)), pictures(), 1)


@every_method
def test_inputs_that_cannot_be_told_apart_are_refused(name: str) -> None:
    with pytest.raises(BadModel, match="both 6 tokens"):
        METHODS[name](Two(), {"words": words(count=6), "picture": pictures()}, 1)


def test_rollout_leaves_looking_at_others_to_relevance() -> None:
    with pytest.raises(BadModel, match="attention_relevance"):
        METHODS["attention_rollout"](Two(), {"words": words(), "picture": pictures()}, 1)


@pytest.mark.parametrize(
    ("name", "options"),
    [("raw_attention", {"layer": 3}), ("raw_attention", {"layer": -4}), ("raw_attention", {"head": 2}),
     *((n, {"position": 7}) for n in ("raw_attention", "attention_rollout", "attention_relevance"))],
)  # fmt: skip
def test_options_beyond_the_network_are_refused(name: str, options: dict[str, Any]) -> None:
    (key,) = options
    with pytest.raises(BadOption, match=f"^{key}="):
        METHODS[name](ViT(), pictures(), 1, **options)


@pytest.mark.parametrize("name", ["attention_relevance", "le_grad"])
def test_a_score_that_does_not_depend_on_attention_is_refused(name: str) -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit, self.head = ViT(), nn.Linear(48, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.vit(x)
            return self.head(x.flatten(1))

    with pytest.raises(BadModel, match="does not depend"):
        METHODS[name](Beside(), pictures(), 1)


@pytest.mark.parametrize("name", ["raw_attention", "attention_rollout"])
def test_where_it_cannot_be_told_what_is_read_every_row_counts(name: str) -> None:
    class Detached(ViT):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    x = pictures()
    rows = [values(name, ViT(), x, position=i) for i in range(7)]
    torch.testing.assert_close(values(name, Detached(), x), torch.stack(rows).mean(0))


# Definitions


VARIANTS: dict[str, list[dict[str, Any]]] = {
    "raw_attention": [{}, {"layer": 0, "head": 1}, {"position": 2}],
    "attention_rollout": [{}, {"heads": "max", "discard": 0.3}, {"heads": "min", "position": 2}],
    "attention_relevance": [{}, {"layers": 2}, {"position": 1}],
    "le_grad": [{}, {"layers": 1}, {"readout": "score"}],
}


@pytest.mark.parametrize(("name", "options"), [(n, o) for n in METHODS for o in VARIANTS[n]])
@pytest.mark.parametrize("read", ["first", "all"])
def test_the_method_is_its_definition(name: str, options: dict[str, Any], read: str) -> None:
    net, x = ViT("by_bmm", read=read).double(), pictures().double()
    target = logit(1) - 0.5 * log_odds(0)
    reference = importlib.import_module(f"pellucid.methods.{name}").reference
    slow = reference(Score(Network(net), target), {"x": x}, **options)
    assert slow["x"].abs().max() > 0
    torch.testing.assert_close(values(name, net, x, target, **options), slow["x"], rtol=1e-8, atol=1e-12)
