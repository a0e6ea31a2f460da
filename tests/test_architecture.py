"""The architecture as tests: what may import, write, open and draw what, and how long it may be.

python tests/test_architecture.py --write      accept today's public names and signatures into api.json
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
API = ROOT / "api.json"
LISTED = SOURCE / "pellucid" / "surfaces" / "methods.json"
LAYERS = (
    ("core",),
    ("doors", "rules", "probes"),
    ("methods", "dream", "concepts", "architecture", "causal", "decision", "diagnosis"),
    ("trials",),
    ("checks",),
    ("views",),
    ("render",),
    ("surfaces",),
)
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}
OPENERS = {"torch.load", "torch.jit.load", "torch.export.load", "Image.open", "numpy.load", "np.load", "safe_open"}
PARSERS = {"h5py", "onnx", "pickle", "pydicom", "safetensors", "tarfile", "zipfile"}
SAVED = "core/archive.py"  # Reads and writes results, which are safetensors: the one exception.
DRAWS = {"rand", "randn", "randint", "randperm", "bernoulli", "multinomial", "normal", "poisson", "uniform"}
DRAWS |= {"rand_like", "randn_like", "randint_like", "normal_", "uniform_", "bernoulli_", "random_", "exponential_"}
THE_RUN = ("run", "current()")  # `current().normal(x)(draw)` is the way to draw.
PROCESS = ("random", "np.random", "numpy.random")  # Generators that belong to the whole process.
STATE = {"seed", "manual_seed", "manual_seed_all", "getstate", "setstate", "get_state", "set_state", "fork_rng"}
STATE |= {"get_rng_state", "set_rng_state"}
FILE_LINES, FUNCTION_LINES = 300, 40
Check = Callable[[Path, ast.Module], Iterator[str]]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def modules() -> list[Path]:
    return sorted((SOURCE / "pellucid").rglob("*.py"))


def short(path: Path) -> str:
    """`core/run.py`."""
    return path.relative_to(SOURCE / "pellucid").as_posix()


def package(path: Path) -> str:
    """The package that a file lies in; the empty string for the facade."""
    first, *rest = path.relative_to(SOURCE / "pellucid").parts
    return first if rest else ""


def imported(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Every dotted name that a module imports, at the top or inside a function: `from a import b` is `a.b`."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def calls(module: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Every call whose function can be written as a dotted name, with that name."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node, ast.unparse(node.func)


def docstrings(module: ast.Module) -> dict[ast.AST, ast.Expr]:
    """The docstring of every module, class and function that has one."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    owners = [node for node in ast.walk(module) if isinstance(node, kinds)]
    return {o: o.body[0] for o in owners if ast.get_docstring(o) is not None and isinstance(o.body[0], ast.Expr)}


def imports_point_down(path: Path, module: ast.Module) -> Iterator[str]:
    here = package(path)
    if here and here not in LEVEL:
        yield f"1: {here}/ has no place in LAYERS"
        return
    for line, name in imported(module):
        if name.startswith("."):
            yield f"{line}: relative import {name}"
        top, there, *_ = [*name.split("."), ""]
        if here and top == "pellucid" and there not in (here, "__version__"):
            level = LEVEL.get(there)
            if level is None or level >= LEVEL[here]:
                yield f"{line}: {here} imports {name}"


def no_method_imports_a_method(path: Path, module: ast.Module) -> Iterator[str]:
    if package(path) == "methods" and path.name != "__init__.py":
        yield from (f"{n}: imports {name}" for n, name in imported(module) if name.startswith("pellucid.methods"))


def only_render_writes_markup(path: Path, module: ast.Module) -> Iterator[str]:
    if package(path) != "render":
        texts = {id(expression.value) for expression in docstrings(module).values()}
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in texts:
                closing = "</" if isinstance(node.value, str) else b"</"
                if closing in node.value:
                    yield f"{node.lineno}: writes a closing tag"


def only_doors_open_files(path: Path, module: ast.Module) -> Iterator[str]:
    if package(path) == "doors":
        return
    for line, name in imported(module):
        top = name.split(".")[0]
        if top in PARSERS and not (top == "safetensors" and short(path) == SAVED):
            yield f"{line}: imports {name}"
    for call, name in calls(module):
        if any(name == opener or name.endswith("." + opener) for opener in OPENERS) and short(path) != SAVED:
            yield f"{call.lineno}: calls {name}"


def only_the_run_draws(path: Path, module: ast.Module) -> Iterator[str]:
    if short(path) == "core/run.py":
        return
    for line, name in imported(module):
        if name.startswith(("random.", "secrets", "numpy.random.")):
            yield f"{line}: imports {name}"
    for call, name in calls(module):
        owner, _, last = name.rpartition(".")
        seeded = owner in THE_RUN or any(keyword.arg == "generator" for keyword in call.keywords)
        if last == "Generator" and owner in ("", "torch"):
            yield f"{call.lineno}: calls {name}; ask the Run for a generator"
        elif (owner and last in DRAWS and not seeded) or (owner in PROCESS and last not in STATE):
            yield f"{call.lineno}: calls {name} without a generator from the Run"


def only_the_lease_seeds_the_process(path: Path, module: ast.Module) -> Iterator[str]:
    """A model may draw for itself (dropout, sampling); the lease keeps that repeatable and puts the state back."""
    if short(path) != "core/lease.py":
        for call, name in calls(module):
            owner, _, last = name.rpartition(".")
            if owner in (*PROCESS, "torch", "torch.random", "torch.cuda") and last in STATE:
                yield f"{call.lineno}: calls {name}"


def files_are_short(path: Path, _: ast.Module) -> Iterator[str]:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > FILE_LINES:
        yield f"1: {lines} lines, more than {FILE_LINES}"


def functions_are_short(_: Path, module: ast.Module) -> Iterator[str]:
    texts = docstrings(module)
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = texts.get(node)
            said = (text.end_lineno or text.lineno) - text.lineno + 1 if text else 0
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - said
            if lines > FUNCTION_LINES:
                yield f"{node.lineno}: {node.name} has {lines} lines, more than {FUNCTION_LINES}"


def names_mean_something(path: Path, _: ast.Module) -> Iterator[str]:
    for part in path.relative_to(SOURCE).with_suffix("").parts:
        if re.search(r"(^|_)(utils?|helpers?|managers?|common|misc)(_|$)", part):
            yield f"1: {part!r} says nothing about what is inside"


RULES: tuple[Check, ...] = (
    imports_point_down,
    no_method_imports_a_method,
    only_render_writes_markup,
    only_doors_open_files,
    only_the_run_draws,
    only_the_lease_seeds_the_process,
    files_are_short,
    functions_are_short,
    names_mean_something,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds_everywhere(rule: Check):
    broken = [f"{short(path)}:{message}" for path in modules() for message in rule(path, tree(path))]
    assert not broken, "\n" + "\n".join(broken)


BREAKS = (
    (imports_point_down, "core/a.py", "from pellucid.methods import saliency"),
    (imports_point_down, "doors/a.py", "def f():\n    from pellucid.rules.lrp import epsilon"),
    (imports_point_down, "views/a.py", "from pellucid import render"),
    (imports_point_down, "checks/a.py", "import pellucid"),
    (imports_point_down, "checks/a.py", "from .b import c"),
    (imports_point_down, "elsewhere/a.py", ""),
    (no_method_imports_a_method, "methods/a.py", "from pellucid.methods.saliency import saliency"),
    (no_method_imports_a_method, "methods/a.py", "from pellucid import methods"),
    (only_render_writes_markup, "views/a.py", "def f(x):\n    return f'<b>{x}</b>'"),
    (only_render_writes_markup, "surfaces/a.py", "x = b'</script>'"),
    (only_doors_open_files, "core/a.py", "import torch\ntorch.load('x')"),
    (only_doors_open_files, "surfaces/a.py", "import PIL.Image\nPIL.Image.open('x')"),
    (only_doors_open_files, "methods/a.py", "def f():\n    from zipfile import ZipFile"),
    (only_doors_open_files, "core/score.py", "from safetensors import safe_open"),
    (only_the_run_draws, "methods/a.py", "noise = torch.randn(3)"),
    (only_the_run_draws, "methods/a.py", "noise = x.normal_()"),
    (only_the_run_draws, "probes/a.py", "g = torch.Generator()"),
    (only_the_run_draws, "core/a.py", "from random import random"),
    (only_the_run_draws, "core/lease.py", "import numpy as np\nx = np.random.choice(3)"),
    (only_the_lease_seeds_the_process, "methods/a.py", "torch.manual_seed(0)"),
    (files_are_short, "core/a.py", "\n" * 301),
    (functions_are_short, "core/a.py", "def f():\n" + "    x = 1\n" * 40),
    (names_mean_something, "core/tensor_utils.py", ""),
)


@pytest.mark.parametrize(("rule", "place", "source"), BREAKS)
def test_rule_notices_what_breaks_it(rule: Check, place: str, source: str, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    path = tmp_path / "pellucid" / place
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert list(rule(path, ast.parse(source)))


def python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "program", ["import pellucid; dir(pellucid)", "from pellucid.surfaces.cli import main; main(['--help'])"]
)
def test_starting_does_not_import_torch(program: str):
    body = f"try:\n    {program}\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    found = "print([m for m in ('torch', 'numpy') if m in sys.modules])"
    assert python("-c", f"import sys\n{body}{found}").endswith("[]\n")


def api(owner: ModuleType) -> dict[str, object]:
    """Public names with their signatures; for a class its public members too, for a module what it exports."""
    return {name: described(getattr(owner, name)) for name in sorted(owner.__all__)}


def described(value: object) -> object:
    if isinstance(value, ModuleType):
        return api(value)
    if inspect.isclass(value):
        members = sorted(name for name in dir(value) if not name.startswith("_"))
        return {"": signature(value)} | {name: signature(inspect.getattr_static(value, name)) for name in members}
    return signature(value)


def signature(value: object) -> str:
    value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    try:
        return str(inspect.signature(value)) if callable(value) else type(value).__name__
    except ValueError:  # Built-in constructors have none.
        return type(value).__name__


def written() -> str:
    """The public interface as text, as a plain import without any test hook sees it."""
    return json.dumps(api(importlib.import_module("pellucid")), indent=1, ensure_ascii=False) + "\n"


def said_of_methods() -> str:
    """What the methods say of themselves, as the command that lists them reads it."""
    methods = importlib.import_module("pellucid.methods").all_methods().values()
    return str(importlib.import_module("pellucid.surfaces.told_methods").written(methods))


def test_what_is_listed_of_the_methods_is_what_they_say():
    assert LISTED.read_text(encoding="utf-8") == said_of_methods(), "Run this file with --write."


def test_public_interface_is_the_pinned_one():
    assert API.exists(), f"{API.name} is missing: python {Path(__file__).relative_to(ROOT)} --write"
    now = json.loads(python(__file__, "--show"))
    assert now == json.loads(API.read_text(encoding="utf-8")), "If this is meant: --write, and say so in the changelog."


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        API.write_text(written(), encoding="utf-8")
        LISTED.write_text(said_of_methods(), encoding="utf-8")
    else:
        sys.stdout.write(written())
