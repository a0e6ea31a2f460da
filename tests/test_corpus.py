"""Bad models, inputs, targets and options: refused in a sentence or two that help, with the model as it was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import PellucidError
from pellucid.core.lease import tensors_of
from pellucid.core.network import Network
from tests.corpus import models, tensors
from tests.corpus.models import Case
from tests.traces import fingerprint

CASES = [*models.cases(), *tensors.cases()]


@pytest.fixture(autouse=True)
def _old_ways() -> Iterator[None]:
    """Scripts, lazy modules and quantized tensors announce that they may change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torch")
        warnings.filterwarnings("ignore", message=".*quantized tensor.*")
        yield


@pytest.fixture
def _as_people_run_it() -> Iterator[None]:
    """Without the type checks of the test run, which would refuse an argument of a wrong type before we do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_as_people_run_it")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_refused_in_a_sentence(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = case.build()
    model = given.model if isinstance(given, Network) else given
    readable = isinstance(model, nn.Module) and not any(_without_numbers(t) for t in tensors_of(model).values())
    before = fingerprint(model, ()) if readable else None
    with pytest.raises(case.error) as caught:
        case.call(given)
    if readable:
        assert fingerprint(model, ()) == before
    said = str(caught.value)
    for part in case.says:
        assert part in said
    if not case.own:
        _is_plain(caught.value)


def _without_numbers(t: Tensor) -> bool:
    return t.is_meta or isinstance(t, nn.parameter.UninitializedTensorMixin)


def _is_plain(error: BaseException) -> None:
    """What happened and what to do next, in few words, without a tensor's numbers or anybody's memory address."""
    assert isinstance(error, PellucidError)
    said = str(error)
    assert 0 < len(said) <= 400 and "\n" not in said
    assert "tensor(" not in said and "Parameter containing" not in said and " at 0x" not in said
    assert error.what.endswith(".") and (not error.hint or error.hint.endswith((".", "...")))


def test_an_error_of_the_users_own_keeps_its_traceback() -> None:
    model = models.Raises(models.Trouble("mine"))
    with pytest.raises(models.Trouble) as caught:
        models.saliency()(model)
    assert caught.value is model.error and caught.traceback[-1].name == "forward"


def test_torchs_own_words_stay_behind_the_sentence() -> None:
    with pytest.raises(PellucidError) as caught:
        tensors.give(torch.ones(2, 5))(tensors.linear())
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_there_are_many_cases_and_no_two_of_one_name() -> None:
    assert len(CASES) >= 60 and len({case.name for case in CASES}) == len(CASES)
