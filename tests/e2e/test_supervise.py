"""A run whose device is lost and comes back: the work goes elsewhere at once, and to a new process once the device answers."""
import json
import os
import signal
import subprocess
from pathlib import Path

from conftest import BUILD, PATIENCE, records, wait_for

SHAPES = Path(__file__).resolve().parents[1] / "data/shapes.onnx"


def flaky(tmp_path):
    """The environment of a device that is lost once, fails to open once, and then works for good."""
    return {**os.environ, "OMMA_PLUGINS": str(BUILD / "tests/conform"), "OMMA_TEST_FLAKY": str(tmp_path / "flaky")}


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_files_go_on_where_they_were(omma, tmp_path):
    """Two files at once, each picture once and in order, in JSONL, CSV and subtitles; only what was on the device is lost."""
    out, csv, report = tmp_path / "out.jsonl", tmp_path / "out.csv", tmp_path / "report.json"
    uris = ["pattern:160x120:frames=2000", "pattern:160x120:frames=1950"]
    done = omma("run", "--supervise", "-m", SHAPES, *uris, "-d", "flaky:30", "--fallback", "null:50000", "--track", "iou",
                "-o", f"jsonl:{out}", "-o", f"csv:{csv}", "-o", f"vtt:{tmp_path}/%s.vtt", "--report", report, env=flaky(tmp_path),
                timeout=150)
    r = json.loads(report.read_text())
    s, totals = r["supervised"], r["totals"]
    assert (s["losses"], s["returns"], s["probes"]) == (1, 1, 2), done
    assert s["device"] == "flaky:30" and "fell off the bus" in s["cause"] and 0 < s["gap_s"] < 10
    lost = totals["dropped"]["device_lost"]
    assert 0 < lost < 3 * 64 and sum(totals["dropped"].values()) == lost
    seen = {}
    for row in records(out):
        assert row["seq"] > seen.get(row["stream"], [-1])[-1]
        seen.setdefault(row["stream"], []).append(row["seq"])
    assert sorted(seen) == ["pattern", "pattern-2"]
    assert sum(map(len, seen.values())) == 2000 + 1950 - lost == totals["inferred"]
    assert seen["pattern"][-1] == 1999 and seen["pattern-2"][-1] == 1949
    assert totals["received"] == totals["inferred"] + lost + sum(totals["skipped"].values())
    assert totals["skipped"]["resumed"] > 0 and totals["in_flight"] == 0
    assert [x["model"]["backend"] for x in r["runs"]] == ["null", "flaky"]
    assert [x["model"]["moved"] is None for x in r["runs"]] == [False, True]
    assert sum(x["totals"]["inferred"] for x in r["runs"]) == totals["inferred"]
    assert len([x for x in lines(csv) if x.startswith("stream,")]) == 1  # one header
    for name in ("pattern", "pattern-2"):  # what cannot be appended to goes on in a further file
        assert (tmp_path / f"{name}.vtt").exists() and (tmp_path / f"{name}-2.vtt").exists()
    assert "answers again" in done.err and "taken over" in done.err


def test_live_streams_are_numbered_on(omma, tmp_path):
    """Streams that were added or removed meanwhile are there or not in the next process; a stop reaches the one at work."""
    out, report, control = tmp_path / "out.jsonl", tmp_path / "report.json", tmp_path / "control"
    env, said = flaky(tmp_path), tmp_path / "said"
    p = omma.start("run", "--supervise", "-m", SHAPES, "pattern:64x48@25:frames=0", "-d", "flaky:30", "--fallback", "null:500",
                   "--live", "--control", control, "-o", f"jsonl:{out}", "--report", report, env=env, stderr=said.open("w"))
    try:
        wait_for(lambda: len(lines(out)) > 5)
        omma("ctl", "add", "pattern:64x48@25:frames=0", "--name", "added", "--priority", "3", "--control", control)
        omma("ctl", "add", "pattern:64x48@25:frames=0", "--name", "still", "--control", control)
        omma("ctl", "pause", "still", "--control", control)
        wait_for(lambda: (tmp_path / "flaky").exists())
        omma("ctl", "remove", "pattern", "--control", control)
        wait_for(lambda: (tmp_path / "flaky").read_text() == "0")

        wait_for(lambda: "taken over" in said.read_text())

        def rows():
            r = subprocess.run([str(omma.binary), "ctl", "list", "--json", "--control", str(control)], capture_output=True, text=True)
            all = json.loads(r.stdout)["streams"] if r.returncode == 0 and r.stdout else []
            return all if all and all[0]["inferred"] > 20 else None

        rows = wait_for(rows)
        assert [(x["name"], x["priority"], x["state"]) for x in rows] == [("added", 3, "running"), ("still", 0, "paused")]
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=PATIENCE)
    finally:
        if p.poll() is None:
            p.kill()
    assert p.returncode == 0, said.read_text()
    r = json.loads(report.read_text())
    assert r["supervised"]["returns"] == 1 and len(r["runs"]) == 2
    assert [x["name"] for x in r["runs"][1]["streams"]] == ["added", "still"]
    rows = [x for x in records(out) if x["stream"] == "added"]
    assert all(a["seq"] < b["seq"] and a["pts"] < b["pts"] and a["time"] <= b["time"] for a, b in zip(rows, rows[1:]))
    assert sum(x["totals"]["inferred"] for x in r["runs"]) == len(records(out))


def test_without_a_loss_it_is_one_run(omma, tmp_path):
    report = tmp_path / "report.json"
    omma("run", "--supervise", "-m", SHAPES, "pattern:64x48:frames=20", "-d", "null", "-o", "null:", "--report", report)
    r = json.loads(report.read_text())
    assert r["supervised"] == {"device": None, "cause": None, "losses": 0, "returns": 0, "probes": 0, "gap_s": 0}
    assert len(r["runs"]) == 1 and r["totals"]["inferred"] == 20
    assert omma("run", "--supervise", "-m", "none.onnx", "x.mp4", "-d", "null", code=None).code in (1, 2)
    assert omma("run", "--supervise", "-m", SHAPES, "x.mp4", "--fps", "many", code=2).err.count("\n") == 1


def test_a_device_is_probed(omma, tmp_path):
    env = flaky(tmp_path)
    assert omma("info", "--probe", "cpu").out == "cpu works\n"
    (tmp_path / "flaky").write_text("1")
    assert "fell off the bus" in omma("info", "--probe", "flaky:7", code=1, env=env).err
    assert omma("info", "--probe", "flaky:7", env=env).out == "flaky:7 works\n"
    omma("info", "--probe", "cuda:99", code=None)
