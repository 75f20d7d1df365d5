"""What end-to-end tests share: the command under test, its inputs, and how to run it.

Markers: `long` (slow; run by `make test-long` only), `sanitize` (also run under ASan+UBSan), `race` (also run under
TSan; must use only generated sources and the null backend). OMMA_BUILD names the build folder whose command is tested.
"""
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("OMMA_BUILD", ROOT / "build")).resolve()
DEPS = ROOT / ".deps"
SANITIZED = BUILD.name in ("build-asan", "build-tsan")
PATIENCE = 40 * (4 if SANITIZED else 1)  # seconds, far above what anything that is waited for takes


def pytest_configure(config):
    config.addinivalue_line("markers", "long: slow; run by make test-long only")
    config.addinivalue_line("markers", "sanitize: also run under ASan+UBSan")
    config.addinivalue_line("markers", "race: also run under TSan, on generated sources and the null backend")


class Result:
    """A finished command: exit code, texts, seconds."""

    def __init__(self, code, out, err, seconds, argv):
        self.code, self.out, self.err, self.seconds, self.argv = code, out, err, seconds, argv

    def __repr__(self):
        return f"$ {' '.join(self.argv)}\nexit {self.code} after {self.seconds:.2f} s\n{self.out[-4000:]}\n{self.err[-8000:]}"


class Omma:
    """Runs the command. A crash, a sanitizer's report or a hang fails the test wherever it happens."""

    def __init__(self, binary):
        self.binary = binary

    def start(self, *args, **popen):
        """A running command; the caller ends it."""
        popen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True, **popen}
        return subprocess.Popen([str(self.binary), *map(str, args)], **popen)

    def __call__(self, *args, code=0, timeout=120, **popen):
        """Runs to the end and checks the exit code; `code=None` takes any that is not a crash."""
        begin = time.monotonic()
        process = self.start(*args, **popen)
        try:
            out, err = process.communicate(timeout=timeout * (4 if SANITIZED else 1))
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"still running after {timeout} s: {Result(None, out, err, timeout, process.args)}")
        result = Result(process.returncode, out or "", err or "", time.monotonic() - begin, process.args)
        if result.code < 0:
            pytest.fail(f"killed by {signal.Signals(-result.code).name}: {result}")
        if "Sanitizer" in result.err or "runtime error:" in result.err:
            pytest.fail(f"sanitizer: {result}")
        if code is not None and result.code != code:
            pytest.fail(f"exit code {result.code}, expected {code}: {result}")
        return result


@pytest.fixture(scope="session")
def omma():
    binary = BUILD / "omma"
    if not binary.exists():
        pytest.fail(f"no {binary}: build first (make)")
    return Omma(binary)


@pytest.fixture(scope="session")
def media():
    """Folder of real videos: vtest.avi, bikes.mp4, carphone_pristine.mp4."""
    return DEPS / "media"


@pytest.fixture(scope="session")
def models():
    """Folder of real models: yolov3-tiny.{cfg,weights,names}, centerface.onnx."""
    return DEPS / "models"


@pytest.fixture(scope="session")
def gi_python():
    """A Python that sees the system's packages (gi, GStreamer)."""
    return DEPS / "venv-gi/bin/python"


@pytest.fixture(scope="session")
def session_dir(tmp_path_factory):
    """A folder for things that many tests use and none changes."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def yolov3_tiny(omma, models, session_dir):
    """Real weights (COCO), imported once from Darknet's files."""
    out = session_dir / "yolov3-tiny.onnx"
    omma("model", "import", models / "yolov3-tiny.cfg", models / "yolov3-tiny.weights", "-o", out,
         "--labels", models / "yolov3-tiny.names")
    return out


@pytest.fixture(scope="session")
def yolov8n(omma, session_dir):
    """Seeded random weights with YOLOv8n's shapes; about 30 boxes a picture."""
    out = session_dir / "yolov8n.onnx"
    omma("model", "synth", "yolov8n", "--boxes", "30", "-o", out)
    return out


def wait_for(what, process=None, seconds=PATIENCE):
    """Until what() is true; its value. A process that ends before ends the waiting."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "waited in vain"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)
    return value


def stops_at_once(process, sig=signal.SIGINT):
    """Asks it to end; what it said. Nothing that hangs holds it up."""
    begin = time.monotonic()
    process.send_signal(sig)
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - begin < (4 if SANITIZED else 2)
    return err


def ffmpeg(*args):
    """Runs the outside witness's converter."""
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, args)], check=True, timeout=120)


def packets(path):
    """How many video packets ffprobe counts in a file."""
    out = subprocess.run(["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries",
                          "stream=nb_read_packets", "-of", "json", str(path)],
                         check=True, capture_output=True, text=True, timeout=120)
    return int(json.loads(out.stdout)["streams"][0]["nb_read_packets"])


def records(path):
    """The result records of a JSONL file."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def free_port():
    """A TCP port of the loopback address that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
