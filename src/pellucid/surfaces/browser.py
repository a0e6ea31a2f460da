"""Opening a page in the browser, where there is a screen."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path


def open_in_browser(path: Path) -> None:
    """Open a written report, where there is a display."""
    if path.suffix == ".html" and has_display():
        webbrowser.open(path.resolve().as_uri())


def has_display() -> bool:
    """Is there a screen that a browser could open on?"""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform in ("darwin", "win32")
