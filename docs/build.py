"""Writes docs/methods/: a page for each family of methods, out of the methods themselves, and a picture of each.

python docs/build.py            the pages, and the pictures that are not there yet
python docs/build.py --pictures  all pictures anew (some minutes)
python docs/build.py --check    write nothing; say which pages differ from what would be written
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

import pellucid as pl
from pellucid.core.errors import PellucidError
from pellucid.core.explanation import Explanation
from pellucid.core.method import Method
from pellucid.render.png import png
from pellucid.surfaces.explain import BRIEFLY
from pellucid.views.inputs import thumbnail

HERE = Path(__file__).resolve().parent
PAGES, PICTURES = HERE / "methods", HERE / "images" / "methods"
PHOTO, NETWORK, SIDE = HERE.parent / "examples" / "coffee.jpg", "efficientnet_lite0", 224
AnyMethod = Method[...]


def families() -> dict[str, list[AnyMethod]]:
    """The methods by family, both in the order of the alphabet."""
    found: dict[str, list[AnyMethod]] = {}
    for m in sorted(pl.methods.all_methods().values(), key=lambda m: (m.family, m.name)):
        found.setdefault(m.family, []).append(m)
    return found


def slug(family: str) -> str:
    """A family's name as the name of a file."""
    return re.sub(r"\W+", "-", family)


def pages() -> Iterator[tuple[Path, str]]:
    """Every page with its text."""
    lines = ["# Methods, family by family", "", f"{_said()} How to choose: [the methods](../methods.md).", ""]
    for family, members in families().items():
        lines += [f"## [{family.capitalize()}]({slug(family)}.md)", ""]
        lines += [f"- [`{m.name}`]({slug(family)}.md#{m.name}): {m.summary}" for m in members] + [""]
        yield PAGES / f"{slug(family)}.md", _page(family, members)
    yield PAGES / "README.md", "\n".join(lines)


def _said() -> str:
    return "Written by `docs/build.py` from the methods themselves."


def _page(family: str, members: list[AnyMethod]) -> str:
    about = f"{_said()} The pictures: `{PHOTO.parent.name}/{PHOTO.name}`, `{NETWORK}`, its top class; every map on a "
    about += "scale of its own, with its true size in words below it."
    return "\n\n".join((f"# {family.capitalize()}", about, *map(_entry, members))) + "\n"


def _entry(m: AnyMethod) -> str:
    """One method: what it shows, its picture, its formula, price, promises, options and example."""
    promises = ", ".join(str(p.name).lower().replace("_", " ") for p in m.promises) or "none"
    speaks = "Positive values speak for the target, negative ones against it."
    steep = "Values are slopes" + (
        ": their sign says which way to change the input." if m.signed else ", without sign."
    )
    sign = steep if m.slopes else speaks if m.signed else "Values have no sign."
    facts = f"*Cost:* {m.cost}. *Promises:* {promises}. {sign}\n\n*Paper:* {m.paper}."
    source = f"*Source:* [`methods/{m.name}.py`](../../src/pellucid/methods/{m.name}.py)"
    described = _listed((sys.modules[f"pellucid.methods.{m.name}"].__doc__ or "").strip())
    help_ = _dedented(m.__doc__ or "")
    text, _, example = help_.partition(">>>")
    code = f"```python\n>>>{example.rstrip()}\n```" if example else ""
    parts = (f"## {m.name}", f"**{m.title}.**", _picture(m), described, text.strip(), facts, _options(m), code, source)
    return "\n\n".join(part for part in parts if part)


def _dedented(text: str) -> str:
    first, *rest = text.strip().split("\n")
    return "\n".join([first, *(line.removeprefix("    ") for line in rest)])


def _listed(text: str) -> str:
    """What a method is good for and what not, as a list."""
    text = re.sub(r"\n {6,}", " ", text)
    return re.sub(r"^(Good|Not) for: +", r"- **\1 for:** ", text, flags=re.MULTILINE)


def _picture(m: AnyMethod) -> str:
    place = PICTURES / f"{m.name}.jpg"
    if not place.exists():
        return "*No picture: it does not apply to the bundled network and one photograph.*"
    return f"![{m.title} on a photograph](../images/methods/{m.name}.jpg)"


def _options(m: AnyMethod) -> str:
    if not m.options:
        return ""
    rows = [f"| `{o.name}` | {_default(o.default)} | {_cell(o.expected)} | {_cell(o.doc)} |" for o in m.options]
    return "\n".join(["| option | default | expected | what it is |", "|---|---|---|---|", *rows])


def _default(value: Any) -> str:
    return "none" if value is None else f"`{value!r}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def draw(again: bool) -> None:
    """The pictures that are missing, or all of them."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    net = pl.open(NETWORK)
    x = net.read(PHOTO)
    for name, m in pl.methods.all_methods().items():
        place = PICTURES / f"{name}.jpg"
        if place.exists() and not again:
            continue
        try:
            view = _view(m(net, x, **BRIEFLY.get(name, {})))
        except PellucidError as why:
            sys.stdout.write(f"{name}: no picture. {why}\n")
            continue
        _write(place, _small(png(view, width=300, scale=1.5)))
        sys.stdout.write(f"{name}: drawn\n")


def _small(drawn: bytes) -> bytes:
    """The picture as JPEG: a repository is no place for megabytes."""
    out = io.BytesIO()
    Image.open(io.BytesIO(drawn)).save(out, "JPEG", quality=85, subsampling=0)
    return out.getvalue()


def _view(e: Explanation) -> Any:
    found = thumbnail(e, 0, SIDE)
    if found is None:
        raise pl.BadInput(f"{e.method} has no map over a picture.")
    return found


def _write(place: Path, data: bytes) -> None:
    """A file whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
        file.write(data)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(place)


def main() -> int:
    """Build, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", action="store_true", help="draw all pictures anew")
    parser.add_argument("--check", action="store_true", help="write nothing; say which pages differ")
    given = parser.parse_args()
    if given.check:
        stale = [place for place, text in pages() if not place.exists() or place.read_text(encoding="utf-8") != text]
        for place in stale:
            sys.stdout.write(f"{place.name} is not what the methods say: run docs/build.py\n")
        return int(bool(stale))
    draw(given.pictures)
    for place, text in pages():
        _write(place, text.encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
