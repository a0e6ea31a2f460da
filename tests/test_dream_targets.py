"""What dreams are for: the targets that read values at a site, against their formulas; and one target a picture."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadModel, BadTarget
from pellucid.core.network import Network
from pellucid.core.readings import gram_of
from pellucid.core.score import Score
from pellucid.core.target import Target, Term, direction, each, energy, likeness, reads_places, texture
from tests.networks import Net, picture, seeded

SITE = "conv2"  # [batch, 4, 6, 5]


def values(net: nn.Module, x: Tensor, site: str = SITE) -> Tensor:
    """The site's values, by a hook of our own."""
    kept: list[Tensor] = []
    hook = net.get_submodule(site).register_forward_hook(lambda _m, _x, out: kept.append(out.detach().clone()))
    with torch.no_grad():
        net(x)
    hook.remove()
    return kept[0]


def random(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def scores(net: nn.Module, target: Target, x: Any) -> Tensor:
    return Score(Network(net), target)(x if isinstance(x, dict) else {"x": x})


def test_a_direction_is_a_product_at_the_mean_position() -> None:
    net, x, v = Net(), picture(0), random(4)
    expected = torch.einsum("nchw,c->nhw", values(net, x), v).flatten(1).mean(1)
    assert torch.allclose(scores(net, direction(SITE, v), x), expected, atol=1e-5)


def test_a_power_weighs_each_position_by_its_cosine_but_never_below_a_tenth() -> None:
    net, x, v = Net(), picture(0), random(4)
    a = values(net, x).permute(0, 2, 3, 1)
    cosine = F.cosine_similarity(a, v, dim=3).clamp_min(0.1)
    assert bool((F.cosine_similarity(a, v, dim=3) < 0.1).any())
    expected = ((a @ v) * cosine**2).flatten(1).mean(1)
    assert torch.allclose(scores(net, direction(SITE, v, 2), x), expected, atol=1e-5)


def test_a_direction_of_the_whole_shape_is_a_pattern_in_space() -> None:
    net, x, v = Net(), picture(0), random(4, 6, 5)
    a = values(net, x).flatten(1)
    assert torch.allclose(scores(net, direction(SITE, v), x), a @ v.flatten(), atol=1e-4)
    whole = F.cosine_similarity(a, v.flatten()[None]).clamp_min(0.1)
    assert torch.allclose(scores(net, direction(SITE, v, 1), x), (a @ v.flatten()) * whole, atol=1e-4)


class Tokens(nn.Module):
    """`[batch, tokens, width]` at the site `mix`, and out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.mix = nn.Linear(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x)


def test_directions_and_channels_of_tokens_are_on_the_last_axis() -> None:
    net, x, v = Tokens().eval(), random(2, 7, 5, seed=1), random(6)
    a = values(net, x, "mix")
    assert torch.allclose(scores(net, direction("mix", v, axis=-1), x), (a @ v).mean(1), atol=1e-5)
    assert torch.allclose(scores(net, pl.channel("mix", 5, -1), x), a[:, :, 5].mean(1), atol=1e-6)
    assert torch.allclose(scores(net, pl.channel("mix", 2, 1), x), a[:, 2].mean(1), atol=1e-6)  # the third token


def test_energy_likeness_texture_and_alike_are_their_formulas() -> None:
    net, x, y = Net(), picture(0), picture(1)
    a, b = values(net, x), values(net, y)
    assert torch.allclose(scores(net, energy(SITE), x), a.square().mean((1, 2, 3)), atol=1e-5)
    apart = -(a - b[0]).square().sum((1, 2, 3)) / b[0].square().sum()
    assert torch.allclose(scores(net, likeness(SITE, b[0]), x), apart, atol=1e-5)
    gram, other = torch.einsum("nchw,ndhw->ncd", a, a) / 30, torch.einsum("nchw,ndhw->ncd", b, b) / 30
    unlike = -(gram - other[1]).square().sum((1, 2)) / other[1].square().sum()
    assert torch.allclose(scores(net, texture(SITE, other[1]), x), unlike, atol=1e-5)
    term = Target((Term(1.0, "alike", (pl.Site.parse(SITE), other)),))
    cosines = torch.stack([F.cosine_similarity(gram.flatten(1), o.flatten()[None]) for o in other]).mean(0)
    assert torch.allclose(scores(net, term, x), cosines, atol=1e-5)
    assert torch.allclose(gram_of(a), gram, atol=1e-5)


def test_what_is_equal_is_wholly_alike() -> None:
    net, x = Net(), picture(0, 1)
    a = values(net, x)
    assert scores(net, likeness(SITE, a[0]), x).item() == pytest.approx(0, abs=1e-10)
    assert scores(net, texture(SITE, gram_of(a)[0]), x).item() == pytest.approx(0, abs=1e-10)


def test_gradients_of_each_are_those_one_by_one() -> None:
    net, x = Net("functional", block="residual"), picture(0, 4)
    targets = [
        direction(SITE, random(4), 2),
        pl.logit(1) - pl.logit(0),
        energy("conv1"),
        0.5 * pl.neuron(SITE, 1, 2, 3),
    ]
    found = Score(Network(net), each(targets)).grad({"x": x})["x"]
    for i, target in enumerate(targets):  # one reads a site, another the output
        alone = Score(Network(net), target).grad({"x": x[i : i + 1]})["x"]
        assert torch.allclose(found[i : i + 1], alone, atol=1e-6)
        assert bool(alone.any())


class Two(nn.Module):
    """Two inputs, and an answer of several parts."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.net = kind, Net()

    def forward(self, x: Tensor, y: Tensor) -> Any:
        a = self.net(x + 2 * y)
        if self.kind == "dict":
            return {"logits": a, "extra": a.square(), "name": "both", "size": torch.tensor(3)}
        if self.kind == "named":
            return namedtuple("Both", "logits extra")(a, a.square())
        return [a, [a.square()]]


@pytest.mark.parametrize("kind", ["dict", "named", "list"])
def test_each_on_answers_of_several_parts_and_several_inputs(kind: str) -> None:
    def extra(output: Any) -> Tensor:
        part = output["extra"] if kind == "dict" else output.extra if kind == "named" else output[1][0]
        assert type(output).__name__ == {"dict": "dict", "named": "Both", "list": "list"}[kind]
        return part[:, 2]

    net = Network(Two(kind), output=0 if kind == "list" else None)
    x = {"x": picture(0, 3), "y": picture(5, 3)}
    targets = [pl.logit(1), pl.scalar(extra), pl.channel("net.conv1", 2)]
    score = Score(net, each(targets))
    a = net.model.net(x["x"] + 2 * x["y"]).detach()
    assert score(x)[0].item() == pytest.approx(a[0, 1].item(), abs=1e-5)
    assert score(x)[1].item() == pytest.approx(a[1, 2].item() ** 2, abs=1e-5)
    found = score.grad(x)
    for i, target in enumerate(targets):
        alone = Score(net, target).grad({k: v[i : i + 1] for k, v in x.items()})
        for name in x:
            assert torch.allclose(found[name][i : i + 1], alone[name], atol=1e-5)


def test_a_site_that_mixes_samples_is_refused_where_each_has_its_own_target() -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.reshape(-1, 2)).reshape(len(x), -1)

    targets = [pl.channel("inner", 1), pl.channel("inner", 2)]
    with pytest.raises(BadModel, match=r"'inner' holds \(3, 3\) for 1 samples: they are not kept"):
        Score(Network(Windows()), each(targets))({"x": torch.ones(2, 6)})


REFUSED: dict[str, tuple[Target, str]] = {
    "vector of another length": (direction(SITE, torch.ones(3)), r"the vector is \(3,\), the site holds"),
    "an axis that there is not": (direction(SITE, torch.ones(4), axis=4), "direction"),
    "the batch as axis": (direction(SITE, torch.ones(2), axis=0), "direction"),
    "a value of another shape": (likeness(SITE, torch.ones(4, 6, 6)), r"the value is \(4, 6, 6\)"),
    "products of other channels": (texture(SITE, torch.ones(3, 3)), "there are 4 channels"),
    "a texture without positions": (texture("head", torch.ones(3, 3)), "no positions"),
    "a channel too high": (pl.channel(SITE, 4), "channel"),
    "a channel below zero": (pl.channel(SITE, -1), "channel"),
    "a channel on no axis": (pl.channel(SITE, 0, 7), "channels are axis 7"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_by_a_sentence(what: str) -> None:
    target, words = REFUSED[what]
    with pytest.raises(BadTarget, match=words):
        scores(Net(), target, picture(0))


@pytest.mark.parametrize("vector", [torch.zeros(4), torch.ones(4, dtype=torch.long)])
def test_a_direction_without_direction_is_refused(vector: Tensor) -> None:
    with pytest.raises(BadTarget, match="not all zero"):
        direction(SITE, vector)


def test_a_targets_name_says_how_many_values_and_not_which() -> None:
    assert str(direction("a.b", torch.ones(4, 6, 5))) == "direction(a.b, 4 x 6 x 5 values, 0.0, 1)"


def test_which_targets_speak_of_places() -> None:
    places = (
        pl.neuron("a", 1, 2, 3),
        likeness("a", torch.ones(3, 2, 2)),
        pl.token(0, 1),
        pl.logit(0) + pl.neuron("a", 1, 2),
    )
    assert all(map(reads_places, places))
    nowhere = (pl.neuron("a", 3), pl.logit(1), pl.channel("a", 1), energy("a"), direction("a", torch.ones(3)))
    assert not any(map(reads_places, nowhere))
