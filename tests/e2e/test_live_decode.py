"""Streams whose decoding alone is more than there is: the policy leaves out what the decoder need not do."""
import json

import pytest
from conftest import ffmpeg, packets, records
from live import SHAPES
from test_run import books

BOUND_MS = 500
BUSY = 5  # seconds of 25 pictures, before those of 5


def clip(path, calm):
    """Two of three pictures are made for no other, one in 25 is a key picture."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-t", BUSY + calm, "-vf", f"select='lt(t,{BUSY})+not(mod(n,5))'", "-vsync", "vfr",
           "-c:v", "libx264", "-preset", "veryfast", "-g", 25, "-keyint_min", 25, "-sc_threshold", 0, "-bf", 2, "-b_strategy", 0, path)
    return path


@pytest.mark.parametrize("calm", [1, pytest.param(40, marks=pytest.mark.long)])
def test_decoders_that_cannot_keep_up_leave_things_out(omma, tmp_path, monkeypatch, calm):
    """A picture takes 80 ms longer than it does, whatever the machine: of 25 a second twelve can be had, of those that others
    are made of all. Lateness is bounded, what is left out is counted, and with 5 a second it comes back."""
    video, out, report = clip(tmp_path / "v.mp4", calm), tmp_path / "r.jsonl", tmp_path / "r.json"
    monkeypatch.setenv("OMMA_TEST_DELAY", "source:80")
    omma("run", "-m", SHAPES, "-d", "null", "-i", video, "-i", video, "-i", video, "--live", "--latency-bound-ms", BOUND_MS, "-o", f"jsonl:{out}",
         "--report", report, "--metrics-file", tmp_path / "m.prom")  # a measured run knows the delay
    run = json.loads(report.read_text())
    steps = {s["step"] for s in run["policy"]["steps"]}
    assert {"loop-filter", "references"} <= steps and run["policy"]["down"] >= 2, run["policy"]
    for stream in run["streams"]:
        books(stream)
        assert stream["received"] == packets(video)
        assert stream["skipped"]["economy"] > 10, stream
        assert sum(stream["dropped"].values()) <= 0.05 * stream["received"], stream
    # What is later than twice the bound is not decoded; the rest is the picture's own time.
    assert run["totals"]["latency_ms"]["p95"] < 2 * BOUND_MS + 400, run["totals"]["latency_ms"]
    if calm > 10:
        assert run["policy"]["up"] >= 1 and run["policy"]["rung"] < run["policy"]["worst_rung"], run["policy"]
        last = [r for r in records(out) if r["pts"] > BUSY + calm - 3]
        assert len(last) > 3 * 3, len(last)  # key pictures alone are one in five seconds
