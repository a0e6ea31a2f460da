"""The commands.  A command is a function: its parameters are its options, its docstring is its help.

A command's module is imported when it is asked for, and heavy imports stand inside the functions, so that help and
mistakes are answered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module

Command = Callable[..., int]
_HOMES = {
    "explain": "command_explain",
    "compare": "command_explain",
    "map": "command_map",
    "patches": "command_patches",
    "methods": "command_lists",
    "checks": "command_lists",
    "concepts": "command_concepts",
    "dream": "command_dream",
    "atlas": "command_atlas",
    "doctor": "command_lists",
}


class _Commands(Mapping[str, Command]):
    def __getitem__(self, name: str) -> Command:
        command: Command = getattr(import_module(f"pellucid.surfaces.{_HOMES[name]}"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


COMMANDS: Mapping[str, Command] = _Commands()
