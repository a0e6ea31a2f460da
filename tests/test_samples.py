"""Many inputs in one shape: tensors, lists, folders and data sets; what cannot be read is left out and said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pellucid as pl
from pellucid.core.samples import Collection

NET = pl.Network(nn.Flatten(), preparation=pl.Preparation(size=8))


def test_a_tensor_a_list_and_a_data_set_of_the_same_samples_are_the_same() -> None:
    x = torch.rand(5, 3, 8, 8)
    for data in (x, list(x), [v[None] for v in x], TensorDataset(x, torch.arange(5)), [{"input": v} for v in x]):
        found = list(Collection(NET, data).batches(2))
        assert [numbers for numbers, _ in found] == [[0, 1], [2, 3], [4]]
        assert torch.equal(torch.cat([one["input"] for _, one in found]), x)


def test_samples_of_other_sizes_get_batches_of_their_own() -> None:
    data = [torch.rand(3, n, n) for n in (8, 8, 9, 8)]
    assert [numbers for numbers, _ in Collection(NET, data).batches(4)] == [[0, 1], [2], [3]]


def test_a_folder_is_read_in_order_and_what_is_broken_is_said(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.png", "a.png", "below/c.png"):
        Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "ab.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    data = pl.pictures(NET, tmp_path)
    assert data.names == ("a.png", "ab.png", "b.png", "below/c.png")
    collection = Collection(NET, data)
    assert [numbers for numbers, _ in collection.batches(9)] == [[0, 2, 3]]
    assert list(collection.skipped) == [1] and collection.skipped[1].startswith("ab.png: ")
    assert pl.pictures(NET, tmp_path, most=2).names == ("a.png", "ab.png")


def test_what_is_no_collection_is_refused(tmp_path: Path) -> None:
    x = torch.rand(2, 3, 8, 8)
    for data in (DataLoader(TensorDataset(x)), (v for v in x), []):
        with pytest.raises(pl.BadInput, match=r"no numbered items|no samples"):
            Collection(NET, data)  # type: ignore[arg-type]  # that is what is refused
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(pl.BadInput, match=r"no picture|no folder"):
            pl.pictures(NET, folder)
    with pytest.raises(pl.BadInput, match="how pictures are prepared"):
        pl.pictures(pl.Network(nn.Flatten()), tmp_path)
    with pytest.raises(pl.BadInput, match="None of the 2 samples"):
        list(Collection(NET, [torch.full((3, 8, 8), float("nan"))] * 2).batches(2))
