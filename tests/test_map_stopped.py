"""Ctrl-C in the middle of a map: one word, status 130, nothing half-written, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.render.graph.page import built

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402  # after it is known to be there

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes and process groups are POSIX's")

# Says its number through a named pipe, and then does not end: what the other process does, or this one's last step.
# Ctrl-C waits until it pauses: in the middle of an import Python may drop it.
PAUSED = """
import os, pathlib, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
pathlib.Path(__file__).with_name("said").write_text(str(os.getpid()))
def pause(*_, **__):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    while True:
        time.sleep(0.1)
"""
READING = "import pellucid.architecture.unrun as unrun; unrun._TASK = 'paused:pause'"
FRESH = f"import pellucid.doors.worker as worker; worker.may_fork = lambda: False; {READING}"
WRITING = """
import pellucid.render.graph.page as page
def drawn(*_):
    import paused
    paused.pause()
page.page = drawn
"""
# Where the tests run in the background of a shell, Ctrl-C is ignored from the start.
HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
RUN = "import sys; from pellucid.surfaces.cli import main; sys.exit(main(sys.argv[1:]))"


def product(path: Path) -> Path:
    """A file whose costs are known, so that nobody tries to run it."""
    x, w, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in "xwy")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x, w], [y])), path)
    return path


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(built() is None, reason="the page was not built")
@pytest.mark.parametrize("whom", ["everybody", "the command alone"])
@pytest.mark.parametrize("moment", [READING, FRESH, WRITING], ids=["reading in a copy", "reading afresh", "writing"])
def test_a_stopped_map_leaves_nothing_behind(moment: str, whom: str, tmp_path: Path) -> None:
    (tmp_path / "paused.py").write_text(PAUSED)
    os.mkfifo(tmp_path / "said")
    out = tmp_path / "out"
    out.mkdir()
    program = f"{HEARS}\nimport sys; sys.path.insert(0, {str(tmp_path)!r})\n{moment}\n{RUN}"
    command = [sys.executable, "-c", program, "map", str(product(tmp_path / "net.onnx")), "-o", str(out / "map.html")]
    with subprocess.Popen(
        [*command, "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        paused = int((tmp_path / "said").read_text())
        os.killpg(process.pid, signal.SIGINT) if whom == "everybody" else process.send_signal(signal.SIGINT)
        said, complaint = process.communicate()
    assert (process.returncode, said, complaint) == (130, "", "\nStopped.\n")
    assert list(out.iterdir()) == []
    assert not is_alive(paused)
