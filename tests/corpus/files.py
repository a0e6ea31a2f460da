"""Model files that are broken or made to harm, built when a test asks for them; none is kept in the repository."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file's name, how to make its bytes (given where the canary is), and what the refusal says."""

    name: str
    build: Callable[[Path], bytes]
    says: tuple[str, ...]


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()


def saved(what: object, *, new: bool = True) -> bytes:
    out = io.BytesIO()
    torch.save(what, out, _use_new_zipfile_serialization=new)
    return out.getvalue()


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start: int, end: int, shape: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def changed(data: bytes, change: Callable[[dict[str, bytes]], None], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with some of its members altered."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    return zipped(members, method)


class Runs:
    """Unpickling it writes the canary."""

    def __init__(self, canary: Path, call: Callable[..., Any] = Path.write_text, *args: Any) -> None:
        self.made = (call, args or (canary, "sang"))

    def __reduce__(self) -> Any:
        return self.made


def touching(canary: Path) -> Runs:
    return Runs(canary, os.system, f"touch {canary}")


def by_hand(canary: Path, *, inst: bool) -> bytes:
    """Protocol 0 without a header, as the oldest attacks were written: `GLOBAL` and `REDUCE`, or `INST`."""
    told = f"(S'touch {canary}'\ntR."
    return f"(V'touch {canary}'\nios\nsystem\n.".encode() if inst else f"cos\nsystem\n{told}".encode()


def spelled_in_memo(canary: Path) -> bytes:
    """The dangerous name is put together from texts that lie in the memo."""
    words = [b"posix", b"system", f"touch {canary}".encode()]
    put = b"".join(b"\x8c" + bytes([len(w)]) + w + b"\x94" for w in words)
    return b"\x80\x04" + put + b"h\x00h\x01\x93h\x02\x85R."


def within_a_pickle(canary: Path) -> bytes:
    return saved({"weights": torch.ones(2), "more": pickle.dumps(touching(canary))})


def after_the_attack_it_breaks(canary: Path) -> bytes:
    return pickle.dumps(touching(canary))[:-1] + b"\xff"


def expanded(*_: Any) -> bytes:
    return saved({"w": torch.ones(1).expand(10**6, 10**6)})


def wrong_storage(_: Path) -> bytes:
    def grow(members: dict[str, bytes]) -> None:
        name = next(n for n in members if n.endswith("data.pkl"))
        members[name] = members[name].replace(struct.pack("<BB", 0x4B, 4), struct.pack("<BB", 0x4B, 200), 1)

    return changed(saved(small().state_dict()), grow)


def bomb(_: Path) -> bytes:
    return changed(saved({"w": torch.zeros(1 << 23)}), lambda _: None, zipfile.ZIP_DEFLATED)


def twice(_: Path) -> bytes:
    data = saved(small().state_dict())
    out = io.BytesIO(data)
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "a") as archive:
        name = next(n for n in old.namelist() if n.endswith("data.pkl"))
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr(name, old.read(name))
    return out.getvalue()


def without_a_storage(_: Path) -> bytes:
    def drop(members: dict[str, bytes]) -> None:
        del members[next(n for n in members if n.endswith("data/0"))]

    return changed(saved(small().state_dict()), drop)


def linked(_: Path) -> bytes:
    out = io.BytesIO(saved(small().state_dict()))
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo("archive/data/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


def objects(canary: Path) -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.array([touching(canary)], dtype=object))
    return out.getvalue()


def gguf(tensors: int = 0, keys: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def gguf_tensor(name: bytes, shape: tuple[int, ...], kind: int, offset: int = 0) -> bytes:
    axes = struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in shape)
    return struct.pack("<Q", len(name)) + name + axes + struct.pack("<IQ", kind, offset)


def cases() -> Iterator[BadFile]:
    yield from pickles()
    yield from archives()
    yield from headers()
    yield BadFile("empty.pt", lambda _: b"", ("is empty (0 bytes)",))
    yield BadFile("page.pt", lambda _: b"<!doctype html><title>404", ("a web page",))
    yield BadFile(
        "pointer.pt", lambda _: b"version https://git-lfs.github.com/spec/v1\noid x", ("Git LFS", "git lfs pull")
    )
    yield BadFile("picture.onnx", lambda _: b"\x89PNG\r\n\x1a\n" + bytes(20), ("a PNG picture", "ends in .onnx"))
    yield BadFile("state.onnx", lambda _: saved(small().state_dict()), ("a PyTorch checkpoint", "ends in .onnx"))
    yield BadFile(
        "weights.pt", lambda _: saved(small().state_dict()), ("4 tensors", "0.weight 4x3x3x3", "architecture=")
    )
    yield BadFile("whole.pt", lambda _: saved(small()), ("4 tensors", "no architecture", "trusted=True"))
    yield BadFile("script.pt", scripted, ("brings code of its own", "trusted=True"))
    yield BadFile("nothing.pt", lambda _: saved({"epoch": 3, "lr": 0.1}), ("holds no tensors", "epoch, lr"))
    yield BadFile("sparse.pt", lambda _: saved({"w": torch.eye(3).to_sparse()}), ("w is sparse",))
    yield BadFile("meta.pt", lambda _: saved({"w": torch.ones(2, device="meta")}), ("holds no numbers",))
    yield BadFile("llm.gguf", lambda _: gguf(), ("a GGUF language model", "pl.weights"))


def scripted(_: Path) -> bytes:
    import warnings

    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(small()), out)
    return out.getvalue()


def pickles() -> Iterator[BadFile]:
    nothing = "Nothing was run."
    for new in (True, False):
        for what, named in ((touching, "posix.system"), (Runs, "pathlib.Path.write_text")):
            build = partial(
                lambda canary, what, new: saved({"w": torch.ones(2), "x": what(canary)}, new=new), what=what, new=new
            )
            yield BadFile(f"runs {named} {'zip' if new else 'old'}.pt", build, (named, nothing))
    for protocol in range(6):
        build = partial(lambda canary, p: pickle.dumps(touching(canary), p), p=protocol)
        yield BadFile(f"protocol {protocol}.pkl", build, ("posix.system", nothing))
    for name in ("eval", "exec", "__import__", "getattr", "open"):
        call = getattr(__import__("builtins"), name)
        build = partial(lambda canary, call: saved(Runs(canary, call, "1")), call=call)
        yield BadFile(f"builtin {name}.pt", build, ("io.open" if name == "open" else f"__builtin__.{name}", nothing))
    yield BadFile("by hand.pt", partial(by_hand, inst=False), ("os.system", nothing))
    yield BadFile("by inst.pt", partial(by_hand, inst=True), ("os.system", nothing))
    yield BadFile("in memo.pt", spelled_in_memo, ("posix.system", nothing))
    yield BadFile("within.pt", within_a_pickle, ("posix.system", nothing))
    yield BadFile("breaks.pkl", after_the_attack_it_breaks, ("posix.system", nothing))
    yield BadFile("extension.pkl", lambda _: b"\x80\x02\x82\x01.", ("copyreg extension", nothing))
    yield BadFile(
        "claims.pkl", lambda _: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"abc", ("cut off or damaged",)
    )
    yield BadFile("cut old.pt", lambda _: saved(small().state_dict(), new=False)[:-40], ("ends after", "bytes"))
    yield BadFile("cut pickle.pt", lambda _: saved(small().state_dict(), new=False)[:200], ("cut off or damaged",))
    yield BadFile("stack.pkl", lambda _: b"\x80\x04R.", ("cut off or damaged",))


def archives() -> Iterator[BadFile]:
    yield BadFile("cut.pt", lambda _: saved(small().state_dict())[:-40], ("damaged or incomplete ZIP", "KiB"))
    yield BadFile("stride.pt", expanded, ("w claims 1000000000000 numbers", "holds 4 bytes"))
    yield BadFile("storage.pt", wrong_storage, ("the file holds",))
    yield BadFile("bomb.pt", bomb, ("would unpack", "more than 20 times"))
    yield BadFile("twice.pt", twice, ("two members of one name",))
    yield BadFile("gap.pt", without_a_storage, ("is missing: the file ends before it",))
    yield BadFile("link.pt", linked, ("is a symbolic link",))
    yield BadFile("slip.zip", lambda _: zipped({"../../canary": b"sang"}), ("is a ZIP archive",))
    yield BadFile(
        "slip.pt", lambda _: zipped({"m/data.pkl": pickle.dumps({}), "m/../../canary": b"sang"}), ("no tensors",)
    )
    yield BadFile("objects.npz", objects, ("holds Python objects, which are pickled",))
    yield BadFile("array.npz", lambda _: zipped({"a.npy": b"\x93NUMPY\x01\x00" + bytes(9)}), ("damaged header",))


def headers() -> Iterator[BadFile]:
    two = struct.pack("<ff", 1, 2)
    a = {"a": tensor(0, 8, [2])}
    rows: list[tuple[str, bytes, str]] = [
        ("huge", safetensors(a, two, 1 << 31), "damaged header"),
        ("cut", safetensors(a, two)[:-3], "ends after 74 of 77 bytes"),
        ("cut in header", safetensors(a, two)[:30], "within its header"),
        ("no json", safetensors(b'{"a":nothing}'), "it is no JSON"),
        ("deep", safetensors(b'{"a":' + b"[" * 99999), "it is no JSON"),
        ("twice", safetensors(b'{"a":' + json.dumps(a["a"]).encode() + b',"a":1}', two), "names 'a' twice"),
        ("over", safetensors({**a, "b": tensor(4, 12, [2])}, bytes(12)), "b lies over the tensor before it"),
        ("gap", safetensors({**a, "b": tensor(12, 20, [2])}, bytes(20)), "b comes after a gap"),
        ("rest", safetensors(a, bytes(12)), "4 bytes that belong to no tensor"),
        ("overflow", safetensors({"a": tensor(0, 8, [1 << 62, 1 << 62])}, two), "claims"),
        ("less", safetensors({"a": tensor(0, 8, [1])}, two), "a of 4 bytes is given 8"),
        ("negative", safetensors({"a": tensor(0, 8, [-2])}, two), "negative size"),
        ("backwards", safetensors({"a": tensor(8, 0, [2])}, two), "not described as the format asks"),
        ("words", safetensors({"a": tensor(0, 8, ["2"])}, two), "not described as the format asks"),
        ("type", safetensors({"a": tensor(0, 8, [2], "F99")}, two), "F99"),
    ]
    for name, data, says in rows:
        yield BadFile(f"{name}.safetensors", lambda _, data=data: data, (says,))


def listed_cases() -> Iterator[BadFile]:
    """Files that `pl.weights` refuses."""
    yield BadFile("version.gguf", lambda _: gguf(version=9), ("version 9",))
    yield BadFile("many.gguf", lambda _: gguf(1 << 60), ("names 1152921504606846976 tensors",))
    yield BadFile("cut.gguf", lambda _: gguf(1), ("within its header",))
    yield BadFile("text.gguf", lambda _: gguf(0, 1, struct.pack("<Q", 1 << 62)), ("a text of",))
    yield BadFile(
        "list.gguf",
        lambda _: gguf(0, 1, struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 60)),
        ("a list of",),
    )
    yield BadFile(
        "claims.gguf", lambda _: gguf(1, 0, gguf_tensor(b"w", (1 << 40, 1 << 40), 0) + bytes(64)), ("claims",)
    )
    yield BadFile("blocks.gguf", lambda _: gguf(1, 0, gguf_tensor(b"w", (33,), 2) + bytes(64)), ("blocks of 32",))
    yield BadFile("axes.gguf", lambda _: gguf(1, 0, gguf_tensor(b"w", (1,) * 9, 0) + bytes(64)), ("has 9 axes",))
    yield BadFile("damaged.h5", lambda _: b"\x89HDF\r\n\x1a\n" + bytes(range(200)), ("damaged or cut off",))
