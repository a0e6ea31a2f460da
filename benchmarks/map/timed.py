"""Seconds from a file to the first whole picture of it, in headless Chromium, the generator of the page included.

Pellucid: the command `pellucid map FILE -o page.html` in a process of its own, then the page; and then the same with
nothing folded, chosen in the page's menu.  Netron: its Python server in a process of its own, then its page; consent is
given beforehand and addresses other than the machine's own are refused, so that it waits for nobody.  Wall-clock time,
since processes of several programs work together.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NETRON = "import netron, sys, time; netron.start(sys.argv[1], int(sys.argv[2]), browse=False); time.sleep(3600)"
DRAWN_BY_NETRON = "document.body && document.body.className === 'default' && document.querySelector('#canvas .node')"
DRAWN_BY_US = "document.documentElement.dataset.ready"
BOXES = "document.querySelector('[data-boxes]').dataset.boxes"
EVERYTHING = "[...document.querySelectorAll('button')].find((b) => b.textContent === 'Every operation').click()"


def chromium() -> str:
    """Where the browser is; '' when there is none."""
    named = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next((found for found in map(shutil.which, named) if found), "")


@contextlib.contextmanager
def page() -> Iterator[Any]:
    """A fresh browser with one page, whose requests stay on this machine."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1400, "height": 900}, bypass_csp=True)
        context.route("**/*", lambda route: route.continue_() if _near(route.request.url) else route.abort())
        shown = context.new_page()
        try:
            yield shown
        finally:
            browser.close()


def _near(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:", "http://localhost:", "http://127.0.0.1:"))


def ours(path: Path, limit: float, picture: Path | None = None, *, every: bool = False) -> float:
    """Seconds until Pellucid's page shows the whole network; infinity when that takes longer than `limit`.

    With `every` until each operation has a box, for which the page has to be asked once it is there.
    """
    with tempfile.TemporaryDirectory() as folder, page() as shown:
        place = Path(folder) / "map.html"
        since = time.perf_counter()
        command = [sys.executable, "-m", "pellucid", "map", str(path), "-o", str(place), "--quiet"]
        subprocess.run(command, check=True, timeout=limit, stdout=subprocess.DEVNULL)
        took = _drawn(shown, place.as_uri(), DRAWN_BY_US, since, limit, None if every else picture)
        return _unfolded(shown, since, limit, picture) if every else took


def netron(path: Path, limit: float, picture: Path | None = None) -> float:
    """Seconds until Netron's page shows it; infinity when that takes longer than `limit`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with page() as shown:
        shown.context.add_cookies([{"name": "consent", "value": "1", "url": f"http://localhost:{port}"}])
        since = time.perf_counter()
        server = subprocess.Popen([sys.executable, "-c", NETRON, str(path), str(port)], stdout=subprocess.DEVNULL)
        try:
            _until_open(port, since + limit)
            return _drawn(shown, f"http://localhost:{port}", DRAWN_BY_NETRON, since, limit, picture)
        finally:
            server.kill()
            server.wait()


def _until_open(port: int, end: float) -> None:
    while time.perf_counter() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)


def _drawn(shown: Any, url: str, condition: str, since: float, limit: float, picture: Path | None) -> float:
    """Asked by the browser's own protocol: Netron's page takes `eval` away, which page drivers go through."""
    from playwright.sync_api import Error

    ask = shown.context.new_cdp_session(shown)
    try:
        shown.goto(url, wait_until="commit", timeout=1000 * limit)
        while not _holds(ask, condition):
            if time.perf_counter() > since + limit:
                return float("inf")
            time.sleep(0.02)
    except Error:
        return float("inf")
    found = time.perf_counter() - since
    if picture is not None:
        shown.screenshot(path=str(picture))
    return found


def _unfolded(shown: Any, since: float, limit: float, picture: Path | None) -> float:
    """Seconds until nothing is folded any more; the page counts its boxes when it draws them."""
    ask = shown.context.new_cdp_session(shown)
    ask.send("Runtime.evaluate", {"expression": f"globalThis.before = {BOXES}; {EVERYTHING}"})
    while not _holds(ask, f"{BOXES} !== globalThis.before"):
        if time.perf_counter() > since + limit:
            return float("inf")
        time.sleep(0.02)
    ask.send(
        "Runtime.evaluate",
        {"expression": "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
         "awaitPromise": True},
    )  # fmt: skip
    found = time.perf_counter() - since
    if picture is not None:
        shown.screenshot(path=str(picture))
    return found


def _holds(ask: Any, condition: str) -> bool:
    answer = ask.send("Runtime.evaluate", {"expression": f"Boolean({condition})", "returnByValue": True})
    return answer["result"].get("value") is True
