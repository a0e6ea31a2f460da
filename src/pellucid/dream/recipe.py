"""How a picture is dreamed: every knob once, with its meaning.  Which are best was measured (benchmarks/dreams)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

from pellucid.core.errors import BadOption
from pellucid.core.option import Option, Range, checked, option_of

Way: TypeAlias = Literal["fourier", "phase", "laplacian", "pixels", "cppn"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Parametrization, transforms, penalties and steps of a dream; `Recipe(steps=256)` changes one of them.

    Shares are of the picture's shorter side.  Raises `BadOption`, naming what was expected, for values out of range.
    """

    steps: Annotated[int, Range(1, 100_000), "steps of the optimizer"] = 96
    rate: Annotated[float, Range(1e-6, 1e3), "size of a step"] = 0.2
    optimizer: Annotated[Literal["adam", "nadam", "sgd", "sign"], "how a step follows from the gradient"] = "adam"
    schedule: Annotated[Literal["constant", "cosine", "tail"], "how steps shrink towards the end"] = "constant"
    patience: Annotated[int, Range(0, 100_000), "stop after so many steps without a gain; 0: never"] = 0

    parametrization: Annotated[Way, "what the optimizer moves"] = "fourier"
    decay: Annotated[float, Range(0, 4), "power by which high frequencies are held back"] = 1.5
    contrast: Annotated[float, Range(0, 10), "spread of the colors before they are bounded; 0: free (fourier)"] = 0.7
    decorrelated: Annotated[bool, "move along the colors in which photographs vary, not along red, green, blue"] = True
    spread: Annotated[float, Range(0, 10), "spread of the random start"] = 1.0
    shared: Annotated[float, Range(0, 10), "how much of the pictures of a batch is common to them"] = 0.0
    opacity: Annotated[bool, "dream an opacity too: what may be see-through is"] = False
    tile: Annotated[bool, "make a pattern whose edges meet"] = False

    jitter: Annotated[float, Range(0, 1), "largest shift"] = 0.25
    shrink: Annotated[float, Range(0.1, 10), "smallest zoom; below 1 the network sees more than the picture"] = 0.9
    zoom: Annotated[float, Range(0.1, 10), "largest zoom: the network sees crops down to 1/zoom of the picture"] = 1.8
    rotate: Annotated[float, Range(0, 180), "largest turn to either side, in degrees"] = 15.0
    flip: Annotated[bool, "mirror every other view"] = False
    noise: Annotated[float, Range(0, 2), "noise on what the network sees, in units of color, fading to none"] = 0.0
    blur: Annotated[float, Range(0, 16), "blur of what the network sees at first, in pixels, fading to none"] = 0.0
    crops: Annotated[int, Range(1, 256), "views of each picture that a step sees"] = 1
    early: Annotated[float, Range(0.1, 1), "size of the network's input in the first part, of its own"] = 0.57
    part: Annotated[float, Range(0, 1), "how long the first part is, of all steps"] = 0.6

    total_variation: Annotated[float, Range(0, 1e6), "weight of differences between neighbors"] = 0.0
    l1: Annotated[float, Range(0, 1e6), "weight of distances from mid-grey"] = 0.0
    l2: Annotated[float, Range(0, 1e6), "weight of squared distances from mid-grey"] = 0.0
    lp: Annotated[float, Range(0, 1e6), "weight of sixth powers of distances from mid-grey"] = 0.0
    spectrum: Annotated[float, Range(0, 1e6), "weight of the distance from photographs' spectrum"] = 0.0
    stay: Annotated[float, Range(0, 1e6), "weight of squared distances from the picture it began at"] = 0.0
    alignment: Annotated[float, Range(0, 1e6), "weight of leaps from one picture of a batch to the next"] = 0.0
    diversity: Annotated[float, Range(0, 1e6), "weight of likeness between the pictures of a batch at the site"] = 0.0

    clip: Annotated[float, Range(0, 1e6), "largest norm of a picture's gradient; 0: any"] = 0.0
    blur_each: Annotated[int, Range(0, 1000), "blur the picture every so many steps (pixels only); 0: never"] = 0
    bilateral_each: Annotated[int, Range(0, 1000), "smooth it but for its edges (pixels only); 0: never"] = 0
    small_norm: Annotated[float, Range(0, 100), "percent of the faintest pixels put to grey (pixels only)"] = 0.0
    small_share: Annotated[float, Range(0, 100), "percent of pixels that matter least put to grey (pixels only)"] = 0.0
    redirect: Annotated[float, Range(0, 1), "gradient let through where all units are off, in the first quarter"] = 0.3

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in checked(knobs(), given, "A recipe").items():
            object.__setattr__(self, name, value)
        if self.shrink > self.zoom:
            raise BadOption(f"shrink={self.shrink:g}, zoom={self.zoom:g}: the smallest zoom is above the largest.")
        if not self.contrast and self.parametrization not in ("fourier", "pixels", "laplacian"):
            raise BadOption(f"contrast=0 is free; {self.parametrization} holds its contrast.", "Use fourier with it.")
        drawn = {"blur_each", "bilateral_each", "small_norm", "small_share"}
        wrong = next((name for name in sorted(drawn) if given[name]), None)
        if wrong is not None and self.parametrization != "pixels":
            raise BadOption(
                f"{wrong}={given[wrong]:g} changes pixels, and the optimizer moves {self.parametrization} numbers.",
                'Use parametrization="pixels" with it.',
            )

    def but(self, **changes: Any) -> Recipe:
        """The same recipe with some knobs turned; raises `BadOption` for those that there are not.

        >>> Recipe().but(steps=12).steps
        12
        """
        return replace(self, **checked(knobs(), {**_values(self), **changes}, "A recipe"))


def cooked(recipe: Recipe | None, knobs: Mapping[str, Any], usual: Recipe | None = None) -> Recipe:
    """The recipe that was given, else the usual one, with some knobs turned."""
    return (recipe or usual or Recipe()).but(**knobs)


def _values(recipe: Recipe) -> dict[str, Any]:
    return {f.name: getattr(recipe, f.name) for f in fields(recipe)}


def knobs() -> tuple[Option, ...]:
    """Every knob with its type, range, default and meaning, in the order in which a recipe lists them."""
    hints = get_type_hints(Recipe, include_extras=True)
    return tuple(option_of(f.name, hints[f.name], f.default) for f in fields(Recipe))
