"""What is installed, what is pinned, what is shipped, and what must not be in a public repository."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
STATIC = ROOT / "src" / "pellucid" / "render" / "static"  # built from web/, not committed
PINNED = os.environ.get("PELLUCID_CPU_ONLY") == "1"  # Set by the Makefile, which installs from constraints.txt.
IMPORTED_AS = {"pillow": "PIL"}  # Where the import is called otherwise than the package.


def canonical(name: str) -> str:
    """`Some.Package_name[extra]>=1` is `some-package-name`."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", name, maxsplit=1)[0]).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def installed() -> dict[str, str]:
    found = {canonical(d.name): d.version.partition("+")[0] for d in distributions()}
    return {name: version for name, version in found.items() if name not in ("pip", "pellucid")}


def tracked() -> list[Path]:
    """Every file that is, or could now be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


@pytest.mark.skipif(not PINNED, reason="only where PELLUCID_CPU_ONLY=1 says that constraints.txt was used")
def test_no_cuda_build_was_installed():
    import torch

    assert torch.version.cuda is None
    cuda = [name for name in installed() if name.startswith(("nvidia-", "cuda-")) or name in ("triton", "cupy")]
    assert not cuda


@pytest.mark.skipif(not PINNED, reason="only where PELLUCID_CPU_ONLY=1 says that constraints.txt was used")
def test_installed_packages_are_the_pinned_ones():
    pinned, found = pins(), installed()
    assert {n: v for n, v in found.items() if pinned.get(n, v) != v} == {}
    if os.environ.get("CI"):  # At home somebody may add a debugger to the environment.
        assert set(found) - set(pinned) == set()


def test_constraints_are_exact_pins_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert [line for line in pinned if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)] == []
    names = [line.partition("==")[0] for line in pinned]
    assert names == sorted(set(names))


def test_everything_declared_is_pinned():
    declared = [*PROJECT["dependencies"]]
    for extra in PROJECT["optional-dependencies"].values():
        declared += extra
    for name in ("requirements-peers.txt", "requirements-peers-bare.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        declared += [line for line in lines if line and not line.startswith("#")]
    assert {canonical(name) for name in declared} - {"pellucid"} - set(pins()) == set()


def test_torch_is_a_range_for_users_and_a_pin_for_us():
    assert [d for d in PROJECT["dependencies"] if re.match(r"torch(?![a-z-])", d) and "==" in d] == []
    assert "torch" in pins()


def test_what_is_imported_at_the_top_of_a_module_is_a_declared_dependency():
    names = {canonical(d) for d in PROJECT["dependencies"]}
    allowed = {IMPORTED_AS.get(n, n.replace("-", "_")) for n in names} | set(sys.stdlib_module_names) | {"pellucid"}
    foreign = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            foreign += [f"{path.relative_to(ROOT)}: {m}" for m in modules if m.partition(".")[0] not in allowed]
    assert foreign == []


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The wheel and the source archive, built from a copy of what could be committed, and of the built browser side.

    With that beside it nothing is built anew, so that no test needs the network.
    """
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for path in [*tracked(), *STATIC.glob("*")]:
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_wheel_holds_the_package_its_data_and_licenses_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"pellucid", f"pellucid-{PROJECT['version']}.dist-info"}
    wanted = {p.relative_to(ROOT / "src").as_posix() for p in tracked() if p.is_relative_to(ROOT / "src" / "pellucid")}
    assert wanted - names == set()
    assert {f"pellucid/render/static/{path.name}" for path in STATIC.glob("*")} - names == set()
    licenses = {name.rsplit("/", 1)[1] for name in names if "/licenses/" in name}
    assert licenses == {"LICENSE", "NOTICE"}
    assert wheel.stat().st_size < 5_000_000


def test_source_archive_is_enough_to_run_the_tests(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        inside = {name.partition("/")[2] for name in files.getnames()}
    assert {"Makefile", "constraints.txt", "pyproject.toml", "tests/test_packaging.py", "examples/cat.jpg"} <= inside
    assert {"web/package-lock.json", "web/src/page/app.ts", "web/bundle.py"} <= inside
    assert {path.relative_to(ROOT).as_posix() for path in STATIC.glob("*")} <= inside
    assert [name for name in inside if "node_modules" in name] == []


def test_the_browser_side_was_built_from_the_sources_that_are_here():
    if not STATIC.exists():
        pytest.skip("it was not built: make bundle")
    done = subprocess.run(
        [sys.executable, "-c", "import bundle; print(bundle.fresh())"],
        cwd=ROOT / "web", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "True\n", "make bundle"


def test_no_path_of_a_machine_and_no_registry_host_in_the_repository():
    roots = ("work", "root", "opt/pypi", "opt/wheels", "home/(?!alice/)[a-z]+", "Users/[A-Za-z]+")
    # alice is nobody: tests use her home where a path must not leak into a report.
    hosts = ("pypi", "files.pythonhosted", "registry.npmjs", "deb.debian", "download.pytorch", "registry.yarnpkg")
    paths = re.compile(rb"(?<![\w.$})])/(" + "|".join(roots).encode() + rb")/")
    names = re.compile(b"|".join(re.escape(f"{host}.org".encode()) for host in hosts))
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content[:4096]:
            lines = enumerate(content.splitlines(), 1)
            found += [f"{path.relative_to(ROOT)}:{i}" for i, line in lines if paths.search(line) or names.search(line)]
    assert found == []


def test_the_photograph_is_credited():
    assert "examples/cat.jpg" in (ROOT / "NOTICE").read_text(encoding="utf-8")
