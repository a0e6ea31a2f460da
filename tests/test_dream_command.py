"""`pellucid dream`: what it takes, what it refuses before anything is opened, and what it writes."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

import pellucid as pl
from pellucid.core.errors import BadOption
from pellucid.core.run import Run, running
from pellucid.dream.dream import Dream
from pellucid.surfaces.deliver import numbers
from tests.command_line import FORMATS, TINY, files, tiny
from tests.command_line import pellucid as pellucid

STEPS = ("--option", "steps=2")
CHANNELS = ("dream", *TINY, "--at", "2", "--channels", "0-2,5", *STEPS)


def test_numbers() -> None:
    assert numbers("0-3,7") == [0, 1, 2, 3, 7]
    assert numbers("5, 3-4 ,5,3") == [5, 3, 4]
    assert numbers("0-255") == list(range(256))
    assert numbers("12") == [12]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "a",
        "-1",
        "1-",
        "3-1",
        "0-256",
        "0-200,300-400",
        "1.5",
        "1,,2",
        "0x3",
        "9" * 30,
        "1-2-3",
        "\u0661-\u0663\u00b2",
    ],
)
def test_what_is_no_list_of_numbers_is_refused(text: str) -> None:
    with pytest.raises(BadOption, match="--channels"):
        numbers(text)


@pytest.fixture
def unopened(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("heavy work began")

    importlib.import_module("pellucid.surfaces.explain")  # which else would take the refusal for the real function
    monkeypatch.setattr("pellucid.doors.open.open", refuse)


DREAM = ("dream", *TINY)
AT_ONCE: dict[str, tuple[int, tuple[str, ...], str]] = {
    "nothing asked": (2, DREAM, "Nothing was asked for"),
    "channels of no site": (2, (*DREAM, "--channels", "3"), "--at"),
    "a site and no channels": (2, (*DREAM, "--at", "2"), "--channels"),
    "no numbers": (2, (*DREAM, "--at", "2", "--channels", "x"), "'x' is no number"),
    "an unknown knob": (2, (*CHANNELS, "--option", "hue=3"), "Knobs of a recipe"),
    "a knob without value": (2, (*CHANNELS, "--option", "rate"), "name=value"),
    "a knob out of range": (2, (*CHANNELS, "--option", "rate=0"), "rate=0"),
    "knobs that do not fit": (2, (*CHANNELS, "--option", "blur_each=2"), "pixels"),
    "an unknown kind": (2, (*CHANNELS, "--what", "nightmare"), "nightmare"),
    "no picture": (2, (*DREAM, "--what", "invert", "--at", "2"), "--picture FILE"),
    "no site": (2, (*DREAM, "--what", "invert", "--picture", "noise.png"), "--at SITE"),
    "two targets": (2, (*DREAM, "--what", "nudge", "--picture", "noise.png", "--target", "0;1"), "2 were given"),
    "fooling by a recipe": (
        2, (*DREAM, "--what", "fool", "--picture", "noise.png", "--target", "0", "--option", "noise=0"), "no recipe",
    ),
    "a size of a real picture": (
        2, (*DREAM, "--what", "invert", "--picture", "noise.png", "--at", "2", "--size", "30"), "--size",
    ),
    "a target of an inversion": (
        2, (*DREAM, "--what", "invert", "--picture", "noise.png", "--at", "2", "--target", "0"), "has no target",
    ),
    "an unknown ending": (1, (*CHANNELS, "-o", "dream.pdf"), ".pellucid"),
    "no folder": (1, (*CHANNELS, "-o", "nowhere/dream.png"), "'nowhere' does not exist"),
    "other things beside a resumed dream": (2, (*DREAM, "--resume", "a.pellucid", "--target", "0"), "as it was begun"),
}  # fmt: skip
LATER: dict[str, tuple[int, tuple[str, ...], str]] = {
    "an unknown class": (1, (*DREAM, "--target", "zebra"), "'zebra'"),
    "a class that many fit": (1, (*DREAM, "--target", "cat"), "fits 2 classes"),
    "a channel too high": (1, (*DREAM, "--at", "2", "--channels", "8"), "channel(2, 8)"),
    "no such site": (1, (*DREAM, "--at", "blocks", "--channels", "0"), "no module at 'blocks'"),
    "a size that is none": (2, (*CHANNELS, "--size", "1"), "size=1: expected a whole number from 2"),
    "no such picture": (3, (*DREAM, "--what", "nudge", "--target", "0", "--picture", "no.png"), "no.png"),
    "no such dream": (1, (*DREAM, "--resume", "no.pellucid"), "no.pellucid"),
    "a file that holds no dream": (1, (*DREAM, "--resume", "noise.png"), "noise.png"),
}


@pytest.mark.parametrize("what", [*AT_ONCE, *LATER])
def test_bad_requests_are_answered_by_a_sentence_and_an_exit_code(what, pellucid, tmp_path: Path, request) -> None:
    if what in AT_ONCE:
        request.getfixturevalue("unopened")
    code, arguments, words = (AT_ONCE | LATER)[what]
    before = files(tmp_path)
    done = pellucid(*arguments)
    assert done.code == code and words in done.err, done
    assert "Traceback" not in done.err and files(tmp_path) == before and done.out == ""


@pytest.mark.parametrize("ending", FORMATS)
def test_channels_are_dreamed_into_every_format(ending: str, pellucid, tmp_path: Path) -> None:
    done = pellucid(*CHANNELS, "-o", f"out{ending}")
    assert done.code == 0 and f"out{ending}" in done.out
    assert FORMATS[ending]((tmp_path / f"out{ending}").read_bytes())


def test_the_command_dreams_what_the_library_does(pellucid, tmp_path: Path) -> None:
    done = pellucid(
        *DREAM, "--at", "2", "--channels", "1", "--target", "dog; Persian", "--seed", "4", *STEPS, "--size", "28",
        "--json", "-o", "out.pellucid",
    )  # fmt: skip
    found = pl.load(tmp_path / "out.pellucid")
    assert isinstance(found, Dream) and found.words == ("channel(2, 1)", "logit of dog (2)", "logit of Persian cat (1)")
    targets = [pl.channel("2", 1), pl.logit(2), pl.logit(1)]
    with running(Run(seed=4)):
        made = pl.dream.maximize(tiny(), targets, steps=2, size=28)
    assert torch.equal(found.pictures, made.pictures) and found.seed == 4
    assert done.json["written"].endswith("out.pellucid")


PICTURE = ("--picture", "noise.png")
OF_A_PICTURE: dict[str, tuple[str, ...]] = {
    "maximize": ("--target", "dog", "--size", "30"),
    "invert": ("--at", "2"),
    "caricature": ("--at", "2"),
    "style": ("--at", "0,2"),
    "nudge": ("--target", "dog"),
    "deepdream": ("--at", "0", "--channels", "0-1"),
    "fool": ("--target", "dog"),
}


@pytest.mark.parametrize("what", OF_A_PICTURE)
def test_every_kind_begins_with_a_picture(what: str, pellucid, tmp_path: Path) -> None:
    done = pellucid(*DREAM, "--what", what, *PICTURE, *OF_A_PICTURE[what], *STEPS, "-o", "out.pellucid")
    assert done.code == 0, done
    found = pl.load(tmp_path / "out.pellucid")
    assert found.what == what and (found.seen_with is not None or what == "maximize")
    assert found.pictures.shape[-1] == (30 if what == "maximize" else 24)
    if what == "fool":
        assert found.words == ("log-odds of dog (2)",)
    if what == "deepdream":
        assert found.words == ("channel(0, 0) + channel(0, 1)",)


def test_a_dream_is_gone_on_with_from_its_file(pellucid, tmp_path: Path) -> None:
    assert pellucid(*CHANNELS, "-o", "out.pellucid").code == 0
    first = pl.load(tmp_path / "out.pellucid")
    done = pellucid("dream", "--quiet", "--resume", "out.pellucid", "--option", "steps=3", "-o", "more.pellucid")
    assert done.code == 0, done  # the network is the dream's own
    further = pl.load(tmp_path / "more.pellucid")
    assert further.state.step == 5 and torch.equal(further.state.scores[:2], first.state.scores)
    assert torch.equal(further.pictures, pl.dream.resume(first, tiny(), steps=3).pictures)
    explained = pellucid("explain", "noise.png", *TINY, "-o", "why.pellucid")
    assert explained.code == 0
    refused = pellucid("dream", "--quiet", "--resume", "why.pellucid")
    assert refused.code == 1 and "holds no dream" in refused.err
