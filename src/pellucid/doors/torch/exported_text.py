"""What an exported program (`.pt2`) says, checked before torch reads it: torch would run some of it as code.

Loading a `.pt2` with torch unpickles sample inputs, evaluates size expressions with sympy, imports modules that tree
specifications name, runs guards, loads compiled libraries, and pastes names into generated code.  So torch is never
given the file: it is given a copy in memory that has the graph and the plain weights, of which every text was checked
here, and nothing else.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.weight_files.sealed import archive, member, refuse_larger_than_memory

_TEXT_LIMIT = 512 << 20
_NAME = re.compile(r"[\w.+:/-]*\Z")  # what stands in generated code or is looked up: no spaces, brackets or quotes
_PROSE = {"stack_trace", "nn_module_stack", "as_string"}  # kept as text, or written with quotes
_KEPT = ("stack_trace", "nn_module_stack")  # of what is noted beside a node
_TARGET = re.compile(r"(torch\.ops\.(aten|prims|torchvision)\.\w+\.\w+|_operator\.\w+|math\.\w+|torch\.(_?sym_\w+))\Z")
_FORBIDDEN = re.compile(r"torch\.ops\.aten\.(from_file|save|_?print|format|warn|set_data|_?resize\w*|as_tensor)\.")
_OPERATORS = {
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "pos", "and_", "or_", "not_", "getitem", "abs"),
    *("eq", "ne", "lt", "le", "gt", "ge", "lshift", "rshift", "xor", "index"),
}
_TREES = {None, "builtins.list", "builtins.tuple", "builtins.dict", "collections.OrderedDict"}
_CALLS = {
    *("Symbol", "Integer", "Float", "Rational", "Mul", "Add", "Mod", "PythonMod", "FloorDiv", "CleanDiv", "Max", "Min"),
    *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality", "StrictLessThan", "LessThan", "GreaterThan"),
    *("StrictGreaterThan", "And", "Or", "Not", "IntTrueDiv", "FloatTrueDiv", "TruncToInt", "CeilToInt", "FloorToInt"),
    *("ToFloat", "Identity", "Where", "ModularIndexing", "RoundToInt"),
}
_EXPRESSION = 2000  # letters
_PARTS = (
    *(ast.Expression, ast.Name, ast.Constant, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult),
    *(ast.FloorDiv, ast.Mod, ast.keyword, ast.Load, ast.Call),
)


def harmless_copy(path: Path) -> io.BytesIO:
    """The graph and the weights of an exported program in an archive of our own making, which torch may read.

    Raises `BadModel` for what would run code, with its name, and for claims that the file cannot hold.
    """
    name = printable(path.name)
    with archive(path) as opened:
        members = {e.filename.partition("/")[2]: e.filename for e in opened.infolist()}
        if "models/model.json" not in members:
            raise BadModel(
                f"{name} was exported in a form that cannot be read without unpickling it.",
                "Export it again with torch 2.9 or later: torch.export.save(program, path).",
            )
        needed = sum(e.file_size for e in opened.infolist())
        refuse_larger_than_memory(path.name, 2 * needed)
        program = _json(member(opened, members["models/model.json"], _TEXT_LIMIT), name)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as copy:
            copy.writestr("model/models/model.json", json.dumps(_checked_program(program, name)))
            copy.writestr("model/data/sample_inputs/model.pt", b"")
            for plain in ("archive_format", "archive_version", "byteorder", ".data/version"):
                if plain in members:
                    copy.writestr("model/" + plain, member(opened, members[plain], 256))
            for kind in ("weights", "constants"):
                _copy_numbers(opened, copy, members, kind, name)
    out.seek(0)
    return out


def _json(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BadModel(f"The graph in {name} is no JSON.", "Copy or download it again.") from None


def _copy_numbers(
    opened: zipfile.ZipFile, copy: zipfile.ZipFile, members: dict[str, str], kind: str, name: str
) -> None:
    """The plain tensors of one kind; pickled ones and objects are refused."""
    listed = f"data/{kind}/model_{kind}_config.json"
    if listed not in members:
        raise BadModel(f"{name} holds no plain list of its {kind}.", "Export it again with torch 2.9 or later.")
    config = _json(member(opened, members[listed], _TEXT_LIMIT), name)
    done: set[str] = set()
    try:
        for tensor, said in config["config"].items():
            file, shown = str(said["path_name"]), printable(str(tensor), 60)
            _refuse_text(str(tensor), name)
            if said["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", file):
                raise BadModel(
                    f"{name}: {shown} is a pickled object, which can run any code.", "Export the model without it."
                )
            meta, held = said["tensor_meta"], opened.getinfo(members[f"data/{kind}/{file}"]).file_size
            sizes = [int(n["as_int"]) for n in meta["sizes"]]
            if min((0, *sizes)) < 0 or math.prod(sizes) > held:
                raise BadModel(
                    f"{name}: {shown} claims {math.prod(sizes)} numbers in {held} bytes.", "Do not trust it."
                )
            meta["device"] = {"type": "cpu", "index": None}
            if file not in done:
                copy.writestr(f"model/data/{kind}/{file}", member(opened, members[f"data/{kind}/{file}"], held))
                done.add(file)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadModel(f"The list of {kind} in {name} is damaged.", "Copy or download it again.") from error
    copy.writestr("model/" + listed, json.dumps(config))


def _checked_program(program: Any, name: str) -> Any:
    """The program with every text in it checked, on the CPU, without guards and without notes that are looked up."""
    if not isinstance(program, dict) or not isinstance(program.get("graph_module"), dict):
        raise BadModel(f"{name} holds no graph.", "Copy or download it again.")
    program["guards_code"] = []
    waiting: list[tuple[str, Any]] = [("", program)]
    while waiting:
        key, part = waiting.pop()
        if isinstance(part, dict):
            if set(part) == {"type", "index"}:
                part.update(type="cpu", index=None)
            if isinstance(part.get("metadata"), dict):
                part["metadata"] = {k: v for k, v in part["metadata"].items() if k in _KEPT and isinstance(v, str)}
            for k in part:
                _refuse_text(k, name)
            waiting += part.items()
        elif isinstance(part, list):
            waiting += [(key, v) for v in part]
        elif isinstance(part, str):
            _refuse(key, part, name)
    return program


def _refuse(key: str, text: str, name: str) -> None:
    if key in _PROSE:
        return
    if key == "expr_str":
        fine, what = _is_sum(text), "a size"
    elif key in ("target", "as_operator"):
        operator = text.removeprefix("_operator.")
        fine = bool(_TARGET.match(text)) and not _FORBIDDEN.match(text)
        fine, what = fine and (operator == text or operator in _OPERATORS), "an operation"
    elif key in ("in_spec", "out_spec"):
        fine, what = _is_tree(text), "the structure of an input or output"
    else:
        _refuse_text(text, name)
        return
    if not fine:
        raise BadModel(
            f"{name} names {printable(text, 60)!r} as {what}, which Pellucid does not let torch run.",
            "If it is your own program, open the module that it was exported from.",
        )


def _refuse_text(text: str, name: str) -> None:
    if not _NAME.match(text):
        raise BadModel(f"{name} holds {printable(text, 60)!r} where a name should stand.", "Do not trust this file.")


def _is_sum(text: str) -> bool:
    """Is it a sum of sizes, such as `2*s0 + 1`, with nothing to be looked up or called but sympy's own terms?"""
    if len(text) > _EXPRESSION:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, _PARTS):
            return False
        if isinstance(node, ast.Name) and ("__" in node.id or (id(node) in calls and node.id not in _CALLS)):
            return False
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
            return False
        if isinstance(node, ast.Constant) and not _is_plain(node.value):
            return False
    return True


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return (value.isidentifier() and "__" not in value) or value.lstrip("-").replace(".", "", 1).isdigit()
    return isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1 << 63)


def _is_tree(text: str) -> bool:
    """Is it made of lists, tuples and dictionaries with names as keys?"""
    try:
        _, root = json.loads(text)
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node["type"] not in _TREES:
                return False
            context = json.loads(node["context"]) if isinstance(node["context"], str) else node["context"]
            if context is not None and not (isinstance(context, list) and all(type(k) in (str, int) for k in context)):
                return False
            waiting += node["children_spec"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return True
