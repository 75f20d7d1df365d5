"""`--track`: numbers against the generated pattern's truth, what is reported, tails in pictures, WebVTT; `omma eval --mot`."""
import csv
from pathlib import Path

import pytest
from conftest import records
from test_run import SHAPES, apart, truth

TRACKERS = ["iou", "bytetrack", "ocsort"]


def overlap(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h) if w > 0 and h > 0 else 0


@pytest.mark.sanitize
@pytest.mark.parametrize("tracker", TRACKERS)
def test_numbers_never_switch(omma, tmp_path, tracker):
    """Two streams of three shapes that bounce and half cover each other: a shape is one track, and a track one shape."""
    out = tmp_path / "r.jsonl"
    omma("run", "-m", SHAPES, "-i", "pattern:640x480@25:frames=200:seed=6", "-i", "pattern:640x480@25:frames=200:seed=72",
         "--track", tracker, "-o", f"jsonl:{out}")
    owner = {}
    for r in records(out):
        seed = 6 if r["stream"] == "pattern" else 72
        boxes = [truth(640, 480, seed, r["seq"], i) for i in range(3)]
        clear = [i for i in range(3) if all(apart(boxes[i], boxes[k]) for k in range(3) if k != i)]
        for o in r["objects"]:
            if o["class_id"] in clear:
                assert overlap(o["box"], boxes[o["class_id"]]) > 0.7
                owner.setdefault((r["stream"], o["class_id"]), set()).add(o["track"])
    assert len(owner) == 6
    assert all(len(tracks) == 1 for tracks in owner.values()), owner
    for stream in {s for s, _ in owner}:
        assert sorted(t for (s, _), tracks in owner.items() if s == stream for t in tracks) == [1, 2, 3]


def test_every_third_frame(omma, tmp_path):
    out = tmp_path / "r.jsonl"
    omma("run", "-m", SHAPES, "-i", "pattern:640x480@25:frames=120:seed=6", "--every", 3, "--track", "bytetrack", "-o", f"jsonl:{out}")
    rows = records(out)
    assert [r["seq"] for r in rows] == list(range(0, 120, 3))
    assert {o["track"] for r in rows for o in r["objects"] if "track" in o} == {1, 2, 3}


def test_without_a_tracker_there_are_no_numbers(omma, tmp_path):
    out = tmp_path / "r.jsonl"
    omma("run", "-m", SHAPES, "-i", "pattern:320x240@25:frames=10", "--track", "none", "-o", f"jsonl:{out}")
    assert not any("track" in o for r in records(out) for o in r["objects"])


def test_what_is_reported(omma, yolov8n, media, tmp_path):
    """Detections above --conf are all there, tracked or not; weaker ones only with a track."""
    plain, tracked = tmp_path / "plain.jsonl", tmp_path / "tracked.jsonl"
    base = ["run", "-m", yolov8n, "-i", media / "bikes.mp4", "--max-frames", 12, "--conf", 0.3]
    omma(*base, "-o", f"jsonl:{plain}")
    omma(*base, "--track", "bytetrack", "--track-low", 0.05, "-o", f"jsonl:{tracked}", "-o", f"csv:{tmp_path}/t.csv")
    weak = 0
    for a, b in zip(records(plain), records(tracked), strict=True):
        strong = [(o["class_id"], o["box"]) for o in b["objects"] if o["score"] > 0.3]
        assert strong == [(o["class_id"], o["box"]) for o in a["objects"]]
        weak += sum(o["score"] <= 0.3 for o in b["objects"])
        assert all("track" in o for o in b["objects"] if o["score"] <= 0.3)
    with open(tmp_path / "t.csv", newline="") as f:
        lines = [(int(row["seq"]), row["track"]) for row in csv.DictReader(f)]
    assert lines == [(r["seq"], str(o.get("track", ""))) for r in records(tracked) for o in r["objects"]]


def test_pictures_show_tails(omma, tmp_path):
    """The video with a tracker has coloured pixels where the shape has been; the one without does not."""
    cv2, numpy = pytest.importorskip("cv2"), pytest.importorskip("numpy")
    counts = {}
    for tracker in ("none", "bytetrack"):
        out = tmp_path / f"{tracker}.mp4"
        omma("run", "-m", SHAPES, "-i", "pattern:640x480@25:frames=30:shapes=1:seed=3", "--track", tracker, "-o", f"video:{out}")
        video = cv2.VideoCapture(str(out))
        frames = [f for ok, f in iter(video.read, (False, None))]
        assert len(frames) == 30
        x, y, w, h = truth(640, 480, 3, 29, 0)
        picture = frames[29].astype(numpy.int32)
        away = numpy.ones(picture.shape[:2], bool)
        away[max(0, y - 40):y + h + 12, max(0, x - 12):x + w + 100] = False
        counts[tracker] = int(((picture.max(2) - picture.min(2) > 60) & away).sum())
    assert counts["none"] < 20 and counts["bytetrack"] > 60, counts


@pytest.mark.parametrize("args,words", [
    (["--track", "bytetrak"], ["did you mean 'bytetrack'"]),
    (["--track", "sort2000"], ["--track", "iou, bytetrack, ocsort or none"]),
    (["--track", "bytetrack", "--track-low", "0.6", "--track-high", "0.5"], ["--track-low 0.6", "--track-high 0.5"]),
    (["--track", "bytetrack", "--track-buffer", "-5"], ["track-buffer"]),
    (["--track", "iou", "--track-match", "2"], ["track-match"]),
])
def test_mistakes(omma, args, words):
    r = omma("run", "-m", SHAPES, "-i", "pattern:", *args, "-o", "null:", code=2)
    assert len(r.err.splitlines()) == 1 and all(w in r.err for w in words), r.err


def test_nothing_to_track(omma):
    r = omma("run", "-m", Path(SHAPES).with_name("classify.onnx"), "-i", "pattern:", "--track", "iou", "-o", "null:", code=2)
    assert len(r.err.splitlines()) == 1 and "finds no boxes" in r.err, r.err


def cues(path):
    """(begin, end, lines) of a WebVTT file."""
    head, *blocks = path.read_text().strip().split("\n\n")
    assert head == "WEBVTT"
    out = []
    for block in blocks:
        when, *lines = block.split("\n")
        begin, end = (sum(float(v) * 60 ** i for i, v in enumerate(reversed(t.split(":")))) for t in when.split(" --> "))
        out.append((begin, end, lines))
    return out


@pytest.mark.sanitize
def test_captions(omma, tmp_path):
    omma("run", "-m", SHAPES, "-i", "pattern:640x480@25:frames=100:seed=6", "--track", "bytetrack", "-o", f"jsonl:{tmp_path}/r.jsonl",
         "-o", f"vtt:{tmp_path}/t.vtt", "-i", "pattern:320x240@10:frames=5", code=2)
    omma("run", "-m", SHAPES, "-i", "pattern:640x480@25:frames=100:seed=6", "--track", "bytetrack", "-o", f"jsonl:{tmp_path}/r.jsonl",
         "-o", f"vtt:{tmp_path}/%s.vtt")
    shown = cues(tmp_path / "pattern.vtt")
    assert shown[0][0] == 0 and shown[-1][1] == pytest.approx(4.0)
    assert all(a[1] <= b[0] and a[2] != b[2] or a[1] < b[0] for a, b in zip(shown, shown[1:]))
    for r in records(tmp_path / "r.jsonl"):
        now = [lines for begin, end, lines in shown if begin - 1e-3 <= r["pts"] < end - 1e-3]
        want = [f"#{o['track']} {o['class']}" for o in sorted(r["objects"], key=lambda o: o.get("track", 0)) if "track" in o]
        assert len(now) == 1 and [line for line in now[0] if line.startswith("#")] == want


def test_captions_are_read_by_ffmpeg(omma, tmp_path):
    import subprocess
    omma("run", "-m", SHAPES, "-i", "pattern:640x480@25:frames=50:seed=6", "-o", f"vtt:{tmp_path}/t.vtt")
    text = subprocess.run(["ffmpeg", "-v", "error", "-i", str(tmp_path / "t.vtt"), "-f", "srt", "-"], check=True, capture_output=True,
                          text=True, timeout=60).stdout
    assert text.count("-->") == len(cues(tmp_path / "t.vtt")) and "1 red" in text
