"""What the names that a pickle would import could do to whoever unpickles it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pellucid.doors.torch.pickle_parts import Global

# Python's own ways to run code, start programs, reach files or the network; `module` or `module.name`.
_DANGEROUS = {
    *("os", "posix", "nt", "posixpath", "ntpath", "subprocess", "pty", "sys", "shutil", "socket", "ctypes"),
    *("runpy", "code", "codeop", "importlib", "imp", "pkgutil", "zipimport", "pip", "webbrowser", "multiprocessing"),
    *("asyncio", "signal", "pdb", "bdb", "timeit", "cProfile", "profile", "trace", "doctest"),
    *("urllib", "http", "httplib", "requests", "ftplib", "smtplib", "ssl", "telnetlib", "socketserver", "commands"),
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "copyreg extension"),
    *("tempfile", "pathlib", "io", "fileinput", "glob", "linecache", "logging.config", "venv", "ensurepip"),
    *("operator.attrgetter", "operator.methodcaller", "functools.reduce"),
    *("types.FunctionType", "types.CodeType", "types.LambdaType", "inspect", "gc", "atexit", "sqlite3", "unittest"),
    *(f"builtins.{n}" for n in ("eval", "exec", "compile", "open", "getattr", "setattr", "delattr", "__import__")),
    *(f"builtins.{n}" for n in ("globals", "locals", "vars", "input", "breakpoint", "map", "filter", "memoryview")),
    *("torch.load", "torch.hub", "torch.serialization", "torch.utils.cpp_extension", "torch.package"),
    *("torch.storage._load_from_bytes", "torch.distributed.rpc", "torch._dynamo", "torch._inductor"),
    *("torch.fx._symbolic_trace", "torch.fx.graph_module.reduce_graph_module", "numpy.testing", "numpy.f2py"),
    *("numpy.load", "numpy.save", "numpy.fromfile", "numpy.memmap", "torch.ops", "torch.classes"),
    "a name made while it runs",
}
# What torch.save itself writes for tensors, and plain holders.
_HARMLESS_MODULES = ("torch._utils", "torch._tensor", "torch.nn.parameter", "torch.jit._pickle", "numpy.dtypes")
_HARMLESS = {
    *("collections.OrderedDict", "collections.defaultdict", "collections.Counter", "collections.deque"),
    *(f"builtins.{n}" for n in ("set", "frozenset", "dict", "list", "tuple", "int", "float", "str", "bytes")),
    *(f"builtins.{n}" for n in ("bytearray", "complex", "slice", "range", "object", "bool")),
    *(f"pathlib.{n}" for n in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")),
    *("torch.Size", "torch.device", "torch.dtype", "torch.Tensor", "torch.storage.UntypedStorage"),
    *("torch.storage.TypedStorage", "torch.serialization._get_layout", "torch.torch_version.TorchVersion"),
    *("_codecs.encode", "numpy.dtype", "numpy.ndarray", "argparse.Namespace", "copyreg._reconstructor"),
    *(f"numpy.{core}.multiarray.{n}" for core in ("core", "_core") for n in ("_reconstruct", "scalar")),
}
_TORCH_TYPES = ("float", "bfloat", "half", "double", "int", "uint", "long", "short", "bool", "complex", "qint", "quint")


def dangerous(name: Global) -> bool:
    """Is it a known way to run code, start a program, or reach files or the network?"""
    text = str(_now(name))
    parts = text.split(".")
    return not harmless(name) and any(".".join(parts[: i + 1]) in _DANGEROUS for i in range(len(parts)))


def harmless(name: Global) -> bool:
    """Does it build tensors and plain holders only?"""
    now = _now(name)
    of_torch = now.module == "torch" and (now.name.endswith("Storage") or now.name.startswith(_TORCH_TYPES))
    return str(now) in _HARMLESS or now.module in _HARMLESS_MODULES or of_torch


def described(names: Iterable[Global]) -> list[str]:
    """One line a name, the dangerous ones first: `posix.system  (dangerous: ...)`.

    >>> described([Global("torch._utils", "_rebuild_tensor_v2"), Global("posix", "system")])[0]
    'posix.system: DANGEROUS, a way to run programs or reach files'
    """
    # TorchScript numbers the copies of a class: `__torch__.torch.nn.modules.conv.___torch_mangle_7.Conv2d`
    plain = dict.fromkeys(Global(re.sub(r"\.___torch_mangle_\d+", "", n.module), n.name) for n in names)
    rows = [
        (0, f"{n}: DANGEROUS, a way to run programs or reach files") if dangerous(n)
        else (2, f"{n}: builds plain values") if harmless(n)
        else (1, f"{n}: a script in the file, would run") if n.module.startswith("__torch__")
        else (1, f"{n}: code of {n.module.partition('.')[0]}, would run")
        for n in plain
    ]  # fmt: skip
    return [text for _, text in sorted(rows, key=lambda row: row[0])]


def _now(name: Global) -> Global:
    """Python 2's name for it in today's words."""
    return Global({"__builtin__": "builtins", "copy_reg": "copyreg"}.get(name.module, name.module), name.name)
