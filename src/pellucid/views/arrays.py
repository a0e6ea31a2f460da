"""The arrays in views: NumPy's, whose import a view of words alone does without."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
