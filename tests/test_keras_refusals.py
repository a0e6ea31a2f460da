"""Keras files that are refused before anything is built, and what is mended instead: no code in a file is run."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pellucid.core.errors import BadModel
from pellucid.doors.keras.model import open_file, open_model
from tests.keras_networks import cnn, keras, layers

h5py: Any = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # keras reading its own


# What is refused, before anything is built


def archive(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A saved model with its configuration changed."""
    cnn().save(path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return path


def replaced(**values: Any) -> Callable[[dict[str, Any]], None]:
    """Its layer `first` described otherwise."""
    return lambda config: config["config"]["layers"][2].update(values)


CODE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "lambda": (replaced(class_name="Lambda", registered_name=None), "layer 'first' of class Lambda: code inside"),
    "torch": (replaced(class_name="TorchModuleWrapper", registered_name=None), "class TorchModuleWrapper: code"),
    "a saved TensorFlow": (replaced(class_name="TFSMLayer", registered_name=None), "class TFSMLayer: code"),
    "own class": (replaced(class_name="Mine", module="mine", registered_name="pack>Mine"), "of class pack>Mine"),
    "own name": (replaced(registered_name="pack>Conv2D"), "class pack>Conv2D"),
    "another package": (replaced(class_name="Popen", module="subprocess", registered_name=None), "class Popen"),
    "a function of keras": (
        replaced(class_name="function", module="keras.utils", config="get_file", registered_name="get_file"),
        "class get_file|class function",
    ),
    "a class of keras that is no layer": (
        replaced(class_name="CustomObjectScope", module="keras.utils", registered_name=None), "class CustomObjectScope",
    ),
    "a table that is read from a file": (
        replaced(class_name="StringLookup", registered_name=None), "StringLookup, which only TensorFlow runs",
    ),
    "code in an activation": (
        lambda c: c["config"]["layers"][2]["config"].update(
            activation={"class_name": "__lambda__", "config": {"value": "x"}}
        ),
        "__lambda__: code inside",
    ),
    "no names": (replaced(class_name=3), "names a class by int"),
    "not Keras": (lambda c: c.clear(), "configuration that is not Keras's"),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_code_and_strange_classes_are_named_and_not_built(name: str, tmp_path: Path) -> None:
    change, sentence = CODE[name]
    for trusted in (False, True):
        with pytest.raises(BadModel, match=sentence):
            open_file(archive(tmp_path / "net.keras", change), trusted=trusted)


def test_a_lambda_that_keras_itself_wrote(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def code(x: Any, where: str = str(mark)) -> Any:
        Path(where).touch()
        return x

    model = keras.Sequential([keras.Input((4,)), layers.Lambda(code, output_shape=(4,), name="sly"), layers.Dense(2)])
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"net{suffix}")
        mark.unlink(missing_ok=True)
        with pytest.raises(BadModel, match="layer 'sly' of class Lambda"):
            open_file(tmp_path / f"net{suffix}", trusted=True)
        assert not mark.exists()


@keras.saving.register_keras_serializable("pack")
class Doubled(layers.Layer):  # type: ignore[misc]  # keras is not typed
    """A layer of one's own."""

    def call(self, x: Any) -> Any:
        return 2 * x


def test_own_classes_are_given_by_name(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), Doubled(), layers.Dense(2)])
    model.save(tmp_path / "net.keras")
    with pytest.raises(BadModel, match="pack>Doubled, which is not one of Keras's own") as why:
        open_file(tmp_path / "net.keras")
    assert "custom={'Doubled'" in why.value.hint
    net, x = open_file(tmp_path / "net.keras", custom={"Doubled": Doubled}), torch.rand(1, 4)
    with torch.no_grad():
        assert torch.equal(net.model(x), model(x))


def link(path: Path, where: str, value: Any) -> Path:
    cnn().save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"][where] = value
    return path


def test_links_in_hdf5_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as file:
        file["secret"] = np.arange(3)
    path = tmp_path / "net.h5"
    for value, sentence in (
        (h5py.ExternalLink(str(outside), "/secret"), "another file"),
        (h5py.SoftLink("/"), "another place"),
    ):
        with pytest.raises(BadModel, match=f"/model_weights/more is a link to {sentence}"):
            open_file(link(path, "more", value))
    cnn().save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset("more", (3,), "f8", external=[(str(outside), 0, 24)])
    with pytest.raises(BadModel, match="numbers of /model_weights/more lie in another file"):
        open_file(path)
    cnn().save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset(
            "more", (1 << 20, 1 << 10), "f4", chunks=(64, 64)
        )  # nothing of it is stored
    with pytest.raises(BadModel, match="claims far more numbers"):
        open_file(path)
    cnn().save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"]["round"] = file["model_weights"]
    with pytest.raises(BadModel, match="/model_weights/round is there twice"):
        open_file(path)


def test_links_in_an_archives_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    cnn().save(path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    held = io.BytesIO(members["model.weights.h5"])
    with h5py.File(held, "r+") as file:
        file["more"] = h5py.ExternalLink("/etc/hostname", "/")
    members["model.weights.h5"] = held.getvalue()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    with pytest.raises(BadModel, match="/more is a link to another file"):
        open_file(path)


def test_a_member_that_points_outside_and_a_bomb(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.keras", lambda _: None)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../../home", b"x")
    with pytest.raises(BadModel, match="points outside of it"):
        open_file(path)
    path = archive(tmp_path / "net.keras", lambda _: None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("assets/zeros", bytes(50 << 20))
    with pytest.raises(BadModel, match="which no model does"):
        open_file(path)


def test_weights_without_an_architecture(tmp_path: Path) -> None:
    cnn().save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(BadModel, match=r"weights of a Keras model \(10 arrays\) and no architecture"):
        open_file(tmp_path / "net.weights.h5")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["table"] = np.arange(3)
    with pytest.raises(BadModel, match="Keras did not write"):
        open_file(tmp_path / "data.h5")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    cnn().save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BadModel, match="damaged or incomplete"):
        open_file(path)


def test_depthwise_convolutions_of_keras_2(tmp_path: Path) -> None:
    """Keras 2 wrote an entry `groups` there that Keras 3 refuses."""
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.DepthwiseConv2D(3, name="deep"), layers.GlobalMaxPooling2D()]
    )
    path = tmp_path / "old.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        next(c for c in config["config"]["layers"] if c["class_name"] == "DepthwiseConv2D")["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
    content, x = path.read_bytes(), torch.rand(1, 3, 8, 8)
    with pytest.raises(TypeError, match="groups"):
        keras.saving.load_model(path, compile=False)
    with torch.no_grad():
        assert torch.equal(open_file(path).model(x), model(x.permute(0, 2, 3, 1)))
    assert path.read_bytes() == content


def test_another_backend_is_named_before_keras_is_imported(tmp_path: Path) -> None:
    code = "import pellucid as pl; from pellucid.doors.keras.model import open_file; open_file('net.keras')"
    env = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "KERAS_BACKEND is tensorflow; Pellucid needs Keras to run on torch" in done.stderr
    assert "Set KERAS_BACKEND=torch" in done.stderr


def test_a_model_object_of_another_backend() -> None:
    class Elsewhere:
        def _flatten_layers(self) -> list[Any]:
            return []

    with pytest.raises(BadModel, match="does not run on torch"):
        open_model(Elsewhere())
