"""One score and two names: the second is its own, the answer is its sigmoid, through every door."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.ending import head_of
from pellucid.core.head import Head
from pellucid.core.network import Network
from pellucid.doors.pictures.picture import Picture
from pellucid.surfaces.facts import facts
from pellucid.views.attribution import attribution, title
from pellucid.views.predictions import predictions
from tests.onnx_files import exported, written

NAMES = ("healthy", "sick")


class Unknown(nn.Module):
    """A network whose last layer nobody can tell without running it."""

    def __init__(self, weights: Tensor, sigmoid: bool = False) -> None:
        super().__init__()
        self.end, self.sigmoid = nn.Linear(len(weights[0]), len(weights), bias=False), sigmoid
        self.end.weight.data = weights

    def forward(self, x: Tensor) -> Tensor:
        """The scores, or their probability, in a shape that came about in steps."""
        z = self.end(x)
        return (z.sigmoid() if self.sigmoid else z).flatten()[:, None] if z.shape[1] == 1 else z


W, X = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[1.0, 1.0, 1.0]])  # the score is -0.5


def sentences(e: pl.Explanation) -> str:
    return repr(attribution(e))


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("asked", [None, 0, "sick", "healthy"])
def test_the_score_is_that_of_the_second_name(sigmoid: bool, asked: int | str | None) -> None:
    net = pl.open(Unknown(W, sigmoid), labels=NAMES)
    why = pl.methods.saliency(net, X, asked)
    p = (W * X).sum().sigmoid().item()
    slope = W * (p * (1 - p) if sigmoid else 1)
    signed = pl.methods.input_x_gradient(net, X, asked).values
    assert torch.allclose(signed, -slope if asked == "healthy" else slope)
    assert net.label(0) == "sick (0)" and why.labels == ("sick",)
    assert any("'sick' where it is high, 'healthy' where it is low" in note for note in why.notes)
    (answer,) = predictions(why) or ()
    assert [name for _, name, _ in answer.top] == ["healthy", "sick (0)"]  # the probability of sick is below a half
    assert [share for _, _, share in answer.top] == pytest.approx([1 - p, p])
    assert title(why, (answer,)) == "Unknown says: healthy, 62 %"
    assert [f["name"] for f in facts(why)["predictions"]] == ["healthy", "sick"]
    assert any("ends in a sigmoid" in note for note in why.notes) == sigmoid
    assert ("probability of sick (0)" in why.target) == (sigmoid and asked != "healthy")


def test_a_probability_is_the_sigmoid_and_log_odds_are_the_score() -> None:
    p = (W * X).sum().sigmoid()
    for sigmoid in (False, True):
        net = pl.open(Unknown(W, sigmoid), labels=NAMES)
        for kind, value in ((pl.probability, p), (pl.log_odds, p.logit())):
            e = pl.methods.input_x_gradient(net, X, kind("sick"))
            assert e.score is not None
            torch.testing.assert_close(e.score(e.x)[0], value, rtol=1e-4, atol=1e-5)
        with pytest.raises(pl.PellucidError, match="what is left of 1"):
            pl.methods.saliency(net, X, pl.probability("healthy"))


def test_two_scores_keep_their_two_names() -> None:
    net = pl.open(Unknown(torch.cat([W, -W])), labels=NAMES)
    why = pl.methods.input_x_gradient(net, X, "healthy")
    assert torch.allclose(why.values, W * X) and why.labels == NAMES and why.target == "logit of healthy (0)"


def test_a_score_without_names_is_no_answer() -> None:
    assert predictions(pl.methods.saliency(Unknown(W), X)) is None  # it may be a length in meters


def test_what_is_known_before_a_run_is_known_at_once() -> None:
    assert pl.open(nn.Linear(8, 1), labels=NAMES).label(0) == "sick (0)"
    assert head_of(Network(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))) == Head(3)
    assert head_of(Network(Unknown(W))) is None  # it never said what it takes


@pytest.mark.parametrize("count", [1, 3])
def test_labels_of_another_number_than_scores_are_refused_or_remarked_on(count: int) -> None:
    with pytest.raises(pl.BadInput, match=f"{count} labels? w.* given, and Linear puts out 4 scores"):
        pl.open(nn.Linear(3, 4), labels=("a", "b", "c")[:count])
    net = pl.open(Unknown(torch.eye(4)[:, :3]), labels=("a", "b", "c")[:count])
    for target in (None, 1):
        notes = pl.methods.saliency(net, X, target).notes
        assert any(f"{count} labels were given for 4 classes" in note for note in notes)
    with pytest.raises(pl.BadInput, match="3 labels were given, and Pictures puts out 4 scores"):
        pl.open(Pictures(), labels=("a", "b", "c"), preparation=pl.Preparation(4))  # a picture of zeros tells


class Pictures(nn.Module):
    """Four scores of a picture."""

    def forward(self, x: Tensor) -> Tensor:
        """Means of quarters."""
        return torch.stack([part.mean((1, 2, 3)) for part in x.chunk(4, 2)], 1)


def test_the_sigmoid_of_a_file_is_left_out(tmp_path: Path) -> None:
    path = exported(nn.Sequential(Unknown(W), nn.Sigmoid()).eval(), X, tmp_path / "net.onnx")
    net = pl.open(path, labels=NAMES)
    torch.testing.assert_close(net.pick(net.model(X)), (W * X).sum()[None, None])
    assert net.label(0) == "sick (0)" and any("sigmoid at the end is left out" in note for note in net.notes)
    why = pl.methods.saliency(net, X)
    assert title(why, predictions(why)) == "net says: healthy, 62 %" and "sigmoid of the network" in sentences(why)
    (name,) = (n for n in net.model(X) if n != net.output)
    kept = pl.methods.saliency(pl.open(path, labels=NAMES, output=name), X)
    assert title(kept, predictions(kept)) == "net says: healthy, 62 %" and kept.target == "probability of sick (0)"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # keras reading its own
def test_the_only_unit_of_keras_scores_the_second_name(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    from tests.keras_networks import keras, layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, activation="sigmoid", name="end")])
    p = float(model(X).detach())
    model.save(tmp_path / "net.keras")
    for what in (tmp_path / "net.keras", model):
        why = pl.methods.saliency(pl.open(what, labels=NAMES), X)
        (answer,) = predictions(why) or ()
        assert {name: share for _, name, share in answer.top} == pytest.approx({"sick (0)": p, "healthy": 1 - p})
        with pytest.raises(pl.BadInput, match="puts out 1 score"):
            pl.open(what, labels=("a", "b", "c"))


def test_pictures_of_a_file_have_their_channels_first(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(2, 3, 1, 1), torch.rand(2, 3, 4, 6)

    class Last(nn.Module):
        """Channels last, as TensorFlow has them."""

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(weight)

        def forward(self, x: Tensor) -> Tensor:
            """A map."""
            return nn.functional.conv2d(x.permute(0, 3, 1, 2), self.w).permute(0, 2, 3, 1)

    net = pl.open(exported(Last(), x.permute(0, 2, 3, 1), tmp_path / "net.onnx"))
    torch.testing.assert_close(net.model(x), nn.functional.conv2d(x, weight))
    assert any("channels last" in note for note in net.notes)
    why = pl.methods.saliency(net, x, pl.scalar(lambda out: out.sum((1, 2, 3))))
    torch.testing.assert_close(why.values, weight.sum(0).abs().expand(2, 3, 4, 6))
    with pytest.raises(pl.BadInput, match=r"is \[batch, 4, 6, 3\]; this network takes \[batch, 3, 4, 6\]") as said:
        net.model(x.permute(0, 2, 3, 1))
    assert "x.permute(0, 3, 1, 2)" in said.value.hint and "--shape" in said.value.typed


@pytest.mark.parametrize(
    ("shape", "node", "turned"),
    [
        ("N,8,8,3", "y = Relu(x)", False),  # the shape alone
        ("N,3,8,8", "y = Relu(x)", False),
        ("N,16,100,1", "y = Relu(x)", False),  # channels, time and one place
        ("N,8,8,3", "y = MaxPool<kernel_shape = [1,1]>(x)", False),  # the standard's own order is wanted of it
        ("N,8,8,64", "y = Transpose<perm = [0,3,1,2]>(x)", False),  # no picture
        ("N,3,8,3", "y = Transpose<perm = [0,3,1,2]>(x)", True),
    ],
)
def test_which_inputs_have_their_channels_last(shape: str, node: str, turned: bool, tmp_path: Path) -> None:
    net = pl.open(written(f"agraph (float[{shape}] x) => (float y) {{ {node} }}", tmp_path / "net.onnx"))
    assert ("x" in net.model.last) == turned  # type: ignore[operator]


def test_pictures_of_another_size_than_the_file_states_are_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)).eval()
    path = exported(model, torch.zeros(1, 1, 6, 6), tmp_path / "net.onnx")
    with pytest.raises(pl.BadInput, match=r"takes pictures of \[batch, 1, 6, 6\]; .* \[batch, 3, 8, 8\]") as said:
        pl.open(path, preparation=pl.Preparation(8))
    assert "pl.Preparation(size=6" in said.value.hint and "--preparation size=6,mean=0.5,std=0.5" in said.value.typed
    pl.open(path, preparation=pl.Preparation(6, mean=(0.5,), std=(0.5,)))
    notes = pl.methods.saliency(pl.open(path), torch.rand(1, 1, 8, 8), 0).notes
    assert any("made for 'x' [batch, 1, 6, 6] and was given [batch, 1, 8, 8]" in note for note in notes)


def test_a_table_is_no_picture(tmp_path: Path) -> None:
    net = pl.open(exported(nn.Linear(4, 2).eval(), torch.zeros(1, 4), tmp_path / "net.onnx"))
    with pytest.raises(pl.BadInput, match=r"takes 'x' \[batch, 4\], which is no picture") as said:
        net.read(Picture(torch.rand(3, 8, 8)))
    assert "--shape 1x4" in said.value.typed


def test_nothing_is_said_to_be_faithful_where_the_score_stood_still() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)).double()
    nn.init.zeros_(net[4].weight)  # type: ignore[arg-type]
    notes = pl.explain(net, torch.rand(1, 1, 8, 8).double(), 0, trust="quick").notes
    assert not any("most faithful" in note or "nan" in note for note in notes)
    assert any("none could be chosen by its faithfulness" in note for note in notes)
