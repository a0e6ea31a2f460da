"""The `pellucid` command: parse, run, and turn every error into one sentence and an exit code."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Mapping, Sequence

from pellucid import __version__
from pellucid.core.alone import be_alone
from pellucid.core.errors import BadOption, Missing, PellucidError, Stopped
from pellucid.surfaces.commands import COMMANDS, Command

DESCRIPTION = "See inside any neural network, and know how far to trust what you see."
EPILOG = """\
examples:
  pellucid explain cat.jpg
  pellucid explain cat.jpg --method integrated_gradients --option steps=64 --target tabby
  pellucid compare cat.jpg -o compare.html
  pellucid patches photos --at blocks.4 --channels 0-15
  pellucid explain cat.jpg --measure pixel_flipping,road
  pellucid dream --target "zebra; toucan"
  pellucid patches photos --at blocks.3.2
  pellucid methods

exit codes:
  0    done
  1    the input, the model, the target or the output file does not fit; the sentence says what to do
  2    a mistake in the command line, or an option outside its range
  3    something is not installed or not there; the sentence names the command that gets it
  130  stopped with Ctrl-C before anything was known"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without our letters is no reason to fail
            stream.reconfigure(errors="replace")
    if argv is not None:
        return _told(argv)
    be_alone()
    try:
        return _told(sys.argv[1:])
    finally:
        gc.freeze()  # the process ends: what is left is not worth looking through


def _told(given: Sequence[str]) -> int:
    """The exit code of a command, with its errors said."""
    try:
        code = _run(given)
        sys.stdout.flush()
        return code
    except PellucidError as error:
        return _fail(error, as_json="--json" in given)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return 0


def _run(given: Sequence[str]) -> int:
    from pellucid.surfaces.derive import arguments, parser

    asked: Mapping[str, Command] = COMMANDS
    if given and given[0] in COMMANDS:  # the options of the others would be read for nothing
        asked = {given[0]: COMMANDS[given[0]]}
    parsed = parser(asked, DESCRIPTION, EPILOG, __version__).parse_args(given)
    command = asked[parsed.command]
    return command(**arguments(command, parsed))


def _fail(error: PellucidError, *, as_json: bool) -> int:
    import json

    from pellucid.render.plain import visible

    code = {BadOption: 2, Missing: 3, Stopped: 130}.get(type(error), 1)
    if as_json:
        facts = {"error": type(error).__name__, "what": error.what, "hint": error.typed, "exit": code}
        sys.stdout.write(json.dumps(facts) + "\n")
    sys.stderr.write(
        f"pellucid: {visible(error.what)}\n" + (f"          {visible(error.typed)}\n" if error.typed else "")
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
