"""What a run says while it goes on: dumps of its trace, warnings at bounds, files that cannot be written any more."""
import json
import os
import re
import shutil
import signal
import time

import pytest

from conftest import ROOT

SHAPES = ROOT / "tests/data/shapes.onnx"


def test_the_last_seconds_are_dumped_on_a_signal(omma, tmp_path):
    process = omma.start("run", "-m", SHAPES, "-i", "pattern:160x120@25:frames=0", "--live", "-o", "null:", "--trace",
                         tmp_path / "t.json", "--trace-last", "1", "--device", "null")
    try:
        time.sleep(2.5)
        process.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + 10
        while not (tmp_path / "t-1.json").exists() and time.monotonic() < deadline:
            time.sleep(.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0 and "SIGUSR2" in err
    events = [e for e in json.loads((tmp_path / "t-1.json").read_text())["traceEvents"] if "ts" in e]
    assert events and max(e["ts"] for e in events) - min(e["ts"] for e in events) < 1.5e6
    assert not (tmp_path / "t.json").exists()


def running(omma, *options, seen):
    """A live run that has come so far that the file `seen` is there."""
    process = omma.start("run", "-m", SHAPES, "-i", "pattern:64x48@25:frames=0", "--live", "-o", "null:", "-d", "null", *options)
    deadline = time.monotonic() + 60
    while not seen.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(.05)
    return process


def ended(process, number=signal.SIGINT):
    try:
        process.send_signal(number)
        return process.communicate(timeout=60)[1]
    finally:
        process.kill()


@pytest.mark.parametrize("way", [(), ("--supervise",)])
def test_a_signal_for_a_trace_that_is_not_kept_ends_no_run(omma, tmp_path, way):
    process = running(omma, "--metrics-file", tmp_path / "m", *way, seen=tmp_path / "m")
    process.send_signal(signal.SIGUSR2)
    line = process.stderr.readline()
    assert "SIGUSR2" in line and "--trace-last" in line
    ended(process)
    assert process.returncode == 0


def test_a_trace_that_reaches_less_far_back_says_so(omma, tmp_path):
    """An hour was asked for; a run at full speed fills its rings in seconds."""
    process = omma.start("run", "-m", SHAPES, "-i", "pattern:64x48:frames=0", "-o", "null:", "-d", "null", "--trace", tmp_path / "t.json",
                         "--trace-last", "1h", "--warn-latency", "1h", "--stats", "250ms", "--metrics-file", tmp_path / "m")
    deadline, line = time.monotonic() + 60, ""
    while "events go back" not in line and process.poll() is None and time.monotonic() < deadline:
        line = process.stderr.readline()
        if "trace" not in line:
            process.send_signal(signal.SIGUSR2)
    ended(process)
    assert "t-" in line and "events go back" in line and "of the 3600" in line


def test_a_folder_that_goes_away_costs_its_files_alone(omma, tmp_path):
    """Metrics cannot be written any more: said once, and the profile is there all the same."""
    folder = tmp_path / "gone"
    folder.mkdir()
    process = running(omma, "--metrics-file", folder / "m", "--stats", "300ms", "-q", "--profile", tmp_path / "p.json", "--trace",
                      folder / "t.json", "--trace-last", "1", seen=folder / "m")
    shutil.rmtree(folder)
    said = ""
    while "gone/m: cannot write" not in said and process.poll() is None:
        said += process.stderr.readline()
    process.send_signal(signal.SIGUSR2)
    while "gone/t-1.json: cannot write" not in said and process.poll() is None:
        said += process.stderr.readline()
    said += ended(process)
    assert process.returncode == 1 and (tmp_path / "p.json").exists()
    assert said.count("gone/m: cannot write") == 1 and "driver" not in said, said


def test_bounds_are_watched(omma):
    done = omma("run", "-m", SHAPES, "-i", "pattern:320x240@25:frames=60", "--live", "-o", "null:", "--warn-latency", "0.01ms")
    assert done.err.count("99% of the last second's frames took") == 1, "said once, not every second"


def test_losses_are_watched(omma):
    """An engine of five a second, a camera of 25."""
    done = omma("run", "-m", SHAPES, "-d", "null:200000", "-i", "pattern:64x48@25:frames=75", "--live", "-o", "null:", "--warn-lost", "10")
    assert re.search(r"losses: [\d.]+% of the last second's frames, more than 10%", done.err) and done.err.count("losses:") == 1


def test_a_stream_that_stands_still_is_told(omma, tmp_path):
    """And that it goes on, where it does."""
    done = omma("run", "-m", SHAPES, "-d", "null", "-i", "pattern:64x48@25:frames=2", "-o", "null:", "--warn-stall", "200ms", "--profile",
                tmp_path / "p.json", env={**os.environ, "OMMA_TEST_DELAY": "source:1500"})
    assert re.search(r"stream 'pattern' has given no frame for [\d.]+ s", done.err) and "stream 'pattern' goes on" in done.err


def test_a_slow_frame_dumps_the_trace(omma, tmp_path):
    done = omma("run", "-m", SHAPES, "-d", "null:30000", "-i", "pattern:64x48@25:frames=60", "--live", "-o", "null:", "--trace", tmp_path / "t.json",
                "--trace-last", "1", "--warn-latency", "1ms")
    assert "a slow frame: " in done.err and json.loads((tmp_path / "t-1.json").read_text())["traceEvents"]
    assert not (tmp_path / "t.json").exists()
