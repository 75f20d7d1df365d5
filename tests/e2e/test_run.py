"""`omma run` as a user types it: boxes against ground truth, books against ffprobe, pacing, stops."""
import json
import signal
import time
from pathlib import Path

import pytest
from conftest import packets, records, stops_at_once, wait_for

SHAPES = Path(__file__).resolve().parents[1] / "data/shapes.onnx"


def even(v):
    return v & ~1


def tri(t, m):
    t %= 2 * m
    return t if t < m else 2 * m - t


def truth(width, height, seed, n, i):
    """docs/pattern.md, written out again: x, y, w, h of shape i in picture n."""
    w, h = even(width * (10 + 2 * i) // 100), even(height * (12 + 2 * i) // 100)
    x = tri(n * 2 * (1 + (seed + i) % 4) + seed * 37 + i * width // 3, width - w)
    y = tri(n * 2 * (1 + (seed + 2 * i) % 3) + seed * 17 + i * height // 3, height - h)
    return even(x), even(y), w, h


def apart(a, b):
    return a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1]


def books(figures):
    """received = inferred + skipped + dropped, nothing in flight."""
    assert figures["in_flight"] == 0
    assert figures["received"] == (figures["inferred"] + sum(figures["skipped"].values()) + sum(figures["dropped"].values()))


@pytest.mark.sanitize
@pytest.mark.parametrize("width,height,seed", [(640, 480, 1), (1280, 720, 5), (322, 242, 9)])
def test_boxes_are_where_the_shapes_are(omma, tmp_path, width, height, seed):
    out = tmp_path / "r.jsonl"
    omma("run", "-m", SHAPES, "-i", f"pattern:{width}x{height}@25:frames=60:shapes=3:seed={seed}", "-o", f"jsonl:{out}")
    rows = records(out)
    assert [r["seq"] for r in rows] == list(range(60))
    seen = 0
    for r in rows:
        boxes = [truth(width, height, seed, r["seq"], i) for i in range(3)]
        assert abs(r["pts"] - r["seq"] / 25) < 1e-6
        assert (r["width"], r["height"]) == (width, height)
        if not all(apart(boxes[i], boxes[k]) for i in range(3) for k in range(i)):
            continue
        seen += 1
        assert sorted(o["class"] for o in r["objects"]) == ["blue", "green", "red"]
        for o in r["objects"]:
            # A pixel of the model's input is worth up to two of the picture's.
            assert o["box"] == pytest.approx(boxes[o["class_id"]], abs=max(2.5, 2.2 * width / 640)), (r["seq"], o)
    assert seen > 10


@pytest.mark.long
def test_real_videos_add_up(omma, media, yolov3_tiny, tmp_path):
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    files = [media / "vtest.avi", media / "bikes.mp4", media / "carphone_pristine.mp4"]
    args = [a for f in files for a in ("-i", f)]
    omma("run", "-m", yolov3_tiny, *args, "-o", f"jsonl:{out}", "--report", report, "--max-frames", 0, timeout=300)
    rows, r = records(out), json.loads(report.read_text())
    for f, stream in zip(files, r["streams"]):
        mine = [x for x in rows if x["stream"] == stream["name"]]
        assert stream["received"] == packets(f)
        assert stream["inferred"] == len(mine)
        assert [x["seq"] for x in mine] == sorted(x["seq"] for x in mine)
        books(stream)
    books(r["totals"])
    assert r["totals"]["inferred"] == len(rows)
    people = [sum(o["class"] == "person" for o in x["objects"]) for x in rows if x["stream"] == "vtest"]
    assert sum(people) / len(people) >= 3


@pytest.mark.sanitize
@pytest.mark.race
def test_many_streams_null_engine(omma, tmp_path):
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    args = [a for i in range(12) for a in ("-i", f"pattern:160x120@25:frames=40:seed={i}")]
    omma("run", "-m", SHAPES, "--device", "null", *args, "-o", f"jsonl:{out}", "-o", "null:", "--report", report,
         "--batch-size", 4)
    rows, r = records(out), json.loads(report.read_text())
    assert len(rows) == 12 * 40
    for stream in r["streams"]:
        assert [x["seq"] for x in rows if x["stream"] == stream["name"]] == list(range(40))
        books(stream)
    assert len({s["name"] for s in r["streams"]}) == 12


def test_results_do_not_depend_on_the_run(omma, media, yolov3_tiny, tmp_path):
    texts = []
    for i in range(2):
        out = tmp_path / f"{i}.jsonl"
        omma("run", "-m", yolov3_tiny, "-i", media / "bikes.mp4", "-i", media / "carphone_pristine.mp4", "-o", f"jsonl:{out}",
             "--max-frames", 30)
        rows = [{k: v for k, v in r.items() if k != "time"} for r in records(out)]
        texts.append(sorted(json.dumps(r) for r in rows))
    assert texts[0] == texts[1]


@pytest.mark.race
def test_live_takes_as_long_as_the_video(omma, tmp_path):
    report = tmp_path / "report.json"
    begin = time.monotonic()
    omma("run", "-m", SHAPES, "--device", "null", "--live", "-i", "pattern:160x120@25:frames=50", "-i",
         "pattern:160x120@25:frames=50", "-o", "null:", "--report", report)
    seconds = time.monotonic() - begin
    assert seconds >= 1.9
    r = json.loads(report.read_text())
    books(r["totals"])
    assert r["totals"]["received"] == 100


@pytest.mark.race
def test_late_frames_are_dropped_by_name(omma, tmp_path):
    report = tmp_path / "report.json"
    omma("run", "-m", SHAPES, "--device", "null:60000", "--in-flight", 1, "--live", "-i", "pattern:160x120@100:frames=150",
         "-o", "null:", "--report", report)
    totals = json.loads(report.read_text())["totals"]
    books(totals)
    assert totals["dropped"]["superseded"] > 75
    assert totals["inferred"] > 5


@pytest.mark.sanitize
@pytest.mark.race
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_stops_gracefully_within_two_seconds(omma, tmp_path, sig):
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    process = omma.start("run", "-m", SHAPES, "--device", "null", "--live", "-i", "pattern:160x120@25:frames=0", "-i",
                         "pattern:160x120@25:frames=0", "-o", f"jsonl:{out}", "--report", report)
    wait_for(lambda: out.exists() and out.stat().st_size, process)  # the first flushed record: it is running
    stops_at_once(process, sig)
    assert process.returncode == 0
    r = json.loads(report.read_text())
    books(r["totals"])
    assert r["totals"]["inferred"] == len(records(out))


@pytest.mark.sanitize
def test_sampling(omma, tmp_path):
    for flags, expected in ((["--every", 5], 20), (["--fps", 5], 20), (["--max-frames", 7], 7), (["--duration", "2s"], 50)):
        out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
        omma("run", "-m", SHAPES, "--device", "null", "-i", "pattern:160x120@25:frames=100", "-o", f"jsonl:{out}",
             "--report", report, *flags)
        assert len(records(out)) == expected, flags
        books(json.loads(report.read_text())["totals"])


@pytest.mark.sanitize
def test_loop_goes_on_counting(omma, tmp_path, media):
    out = tmp_path / "r.jsonl"
    omma("run", "-m", SHAPES, "--device", "null", "-i", media / "carphone_pristine.mp4", "--loop", "--max-frames", 300, "-o",
         f"jsonl:{out}")
    rows = records(out)
    assert [r["seq"] for r in rows] == list(range(300))
    assert all(b["pts"] > a["pts"] for a, b in zip(rows, rows[1:]))


def test_more_shapes_than_rectangles(omma, tmp_path):
    """Four aspects share three rectangles, always the same way."""
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    sizes = ["640x360", "640x480", "480x640", "640x200"]
    args = [a for s in sizes for a in ("-i", f"pattern:{s}@25:frames=10")]
    omma("run", "-m", SHAPES, *args, "-o", f"jsonl:{out}", "--report", report)
    r = json.loads(report.read_text())
    assert [(x["width"], x["height"]) for x in r["model"]["rectangles"]] == [(640, 384), (640, 480), (480, 640)]
    assert len(records(out)) == 40


@pytest.mark.sanitize
def test_yaml_and_flags_are_one_thing(omma, tmp_path):
    config, out = tmp_path / "c.yaml", tmp_path / "r.jsonl"
    config.write_text(f"""
model: {SHAPES}
device: "null"
max-frames: 5
streams:
  - {{uri: "pattern:160x120", name: gate, priority: 2}}
  - pattern:160x120
sinks:
  - jsonl:{out}
""")
    omma("run", config)
    assert [r["stream"] for r in records(out)].count("gate") == 5
    omma("run", config, "--max-frames", 2)
    assert len(records(out)) == 4


def test_the_trace_is_one(omma, tmp_path):
    trace = tmp_path / "t.json"
    omma("run", "-m", SHAPES, "--device", "null", "-i", "pattern:160x120:frames=20", "-o", "null:", "--trace", trace)
    events = json.loads(trace.read_text())
    events = events["traceEvents"] if isinstance(events, dict) else events
    assert {"read", "gather", "lane", "sink"} <= {e["name"] for e in events}


def test_batches_wait_only_when_asked_to(omma, tmp_path):
    """--batch-min fills batches across streams; the last, lonely frames still come out."""
    report = tmp_path / "report.json"
    args = [a for i in range(4) for a in ("-i", f"pattern:160x120@25:frames=40:seed={i}")]
    omma("run", "-m", SHAPES, "--device", "null", "--batch-size", 4, "--batch-min", 4, "--batch-timeout-ms", 200, *args, "-o",
         "null:", "--report", report)
    r = json.loads(report.read_text())
    assert r["totals"]["inferred"] == 160
    assert r["model"]["rectangles"][0]["mean_batch"] > 3


def test_the_memory_is_the_runs_own(omma, tmp_path):
    """Not that of what started it, which ru_maxrss has in it."""
    report = tmp_path / "report.json"
    large = b"x" * (600 << 20)
    omma("run", "-m", SHAPES, "--device", "null", "-i", "pattern:160x120:frames=5", "-o", "null:", "--report", report)
    assert len(large) and 5 < json.loads(report.read_text())["totals"]["memory_peak_mb"] < 300
