"""The command line, read from functions' signatures: a command is a function, its options are its parameters.

Imports no torch, so that `pellucid --help` answers at once.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, get_origin, get_type_hints

from pellucid.core.errors import BadOption
from pellucid.core.option import Option, option_of
from pellucid.surfaces.commands import Command


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are the package's own errors, so that they are told like all others."""

    def error(self, message: str) -> NoReturn:
        raise BadOption(f"{message[:1].upper()}{message[1:]}.", f"{self.prog} --help lists what there is.")


class _OneFile(argparse.Action):
    """An option whose second value would silently take the place of the first, and a file would be missing."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        before = getattr(namespace, self.dest)
        if before != self.default:
            parser.error(f"--{self.dest} was given twice, {before} and {values}: one file is written")
        setattr(namespace, self.dest, values)


def parser(commands: Mapping[str, Command], description: str, epilog: str, version: str) -> argparse.ArgumentParser:
    """A parser with one sub-command for each function; the parsed `run` is the function.

    Positional parameters are arguments; keyword-only ones are flags, `Annotated` with their help.  A parameter of type
    `tuple[str, ...]` is a flag that may be given again and again.  Parsing raises `BadOption` for what does not fit.
    """
    top = _Parser(
        "pellucid", description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=f"pellucid {version}")
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in commands.items():
        lines = inspect.cleandoc(function.__doc__ or "").split("\n")
        one = sub.add_parser(
            name, help=lines[0], description="\n".join(lines), formatter_class=argparse.RawDescriptionHelpFormatter
        )
        one.set_defaults(run=function)
        hints = get_type_hints(function, include_extras=True)
        for parameter in inspect.signature(function).parameters.values():
            _add(one, parameter, hints[parameter.name])
    return top


def arguments(function: Command, parsed: argparse.Namespace) -> dict[str, Any]:
    """The parsed values that are the function's parameters."""
    found = {name: getattr(parsed, name) for name in inspect.signature(function).parameters}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _add(one: argparse.ArgumentParser, parameter: inspect.Parameter, hint: Any) -> None:
    base = hint.__origin__ if hasattr(hint, "__metadata__") else hint
    if get_origin(base) is tuple:
        doc = next((e for e in hint.__metadata__ if isinstance(e, str)), "")
        one.add_argument(_flag(parameter.name), action="append", default=[], help=doc)
        return
    option = option_of(parameter.name, hint, parameter.default)
    if parameter.kind is not parameter.KEYWORD_ONLY:
        one.add_argument(parameter.name, type=_parse(option), help=option.doc)
    elif option.type is bool:
        one.add_argument(_flag(parameter.name), action="store_true", help=option.doc)
    else:
        shown = "" if option.default in (None, "") else f" (default: {option.default})"
        is_file = parameter.name == "output"
        names, action = (["-o", "--output"], _OneFile) if is_file else ([_flag(parameter.name)], "store")
        one.add_argument(*names, action=action, type=_parse(option), default=option.default, help=option.doc + shown)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parse(option: Option) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return option.parse(text)
        except BadOption as error:  # argparse would say only that a ValueError happened
            raise argparse.ArgumentTypeError(error.what.removesuffix(".")) from error

    return parse
