"""What leaves omma: quoting, standard output, slow and dead readers, full disks, drawn videos."""
import csv
import fcntl
import json
import os
import signal
import subprocess
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ffmpeg, packets, records, stops_at_once, wait_for
from test_run import apart, books, truth

SHAPES = Path(__file__).resolve().parents[1] / "data/shapes.onnx"
CPU = ["--threads", "2"]


def complaints(err):
    return [line for line in err.splitlines() if line.startswith(("omma: error:", "omma run:"))]


@pytest.mark.sanitize
def test_csv_quotes_what_is_odd(omma, tmp_path):
    labels, out = tmp_path / "names.txt", tmp_path / "r.csv"
    labels.write_text('red, the first\n"green"\nblaü\n', encoding="utf-8")
    config = tmp_path / "c.yaml"
    names = ['gate, "north"', "ümläut 名", "plain", "a\tb'c"]
    streams = "\n".join(f"  - {{uri: 'pattern:320x240:frames=4:seed={i}', name: {json.dumps(n, ensure_ascii=False)}}}"
                        for i, n in enumerate(names))
    config.write_text(f"model: {SHAPES}\nlabels: {labels}\nstreams:\n{streams}\nsinks: ['csv:{out}', 'jsonl:{tmp_path}/r.jsonl']\n",
                      encoding="utf-8")
    omma("run", config)
    with open(out, newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    objects = [(r["stream"], r["seq"], o) for r in records(tmp_path / "r.jsonl") for o in r["objects"]]
    assert len(rows) == len(objects) > 20
    assert {r["stream"] for r in rows} == set(names)
    assert {r["class"] for r in rows} == {"red, the first", '"green"', "blaü"}
    by_place = sorted((r["stream"], int(r["seq"]), r["class"], float(r["x"]), float(r["w"])) for r in rows)
    assert by_place == sorted((s, q, o["class"], o["box"][0], o["box"][2]) for s, q, o in objects)


@pytest.mark.sanitize
def test_names_of_another_encoding(omma, tmp_path):
    """Bytes that are no UTF-8 leave files that are."""
    (tmp_path / "names.txt").write_bytes("rot\ngrün\nblaü\n".encode("latin-1"))
    files = [tmp_path / f"r.{kind}" for kind in ("jsonl", "csv", "vtt")]
    omma("run", "-m", SHAPES, "--labels", tmp_path / "names.txt", "-i", "pattern:320x240:frames=4",
         *(x for f in files for x in ("-o", f"{f.suffix[1:]}:{f}")))
    for file in files:
        text = file.read_bytes().decode()
        assert "gr\ufffdn" in text and "bla\ufffd" in text, file


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_standard_output_is_for_results_alone(omma, kind):
    r = omma("run", "-m", SHAPES, "-i", "pattern:320x240:frames=10", "-o", f"{kind}:-")
    lines = r.out.splitlines()
    if kind == "jsonl":
        assert [json.loads(line)["seq"] for line in lines] == list(range(10))
    else:
        assert lines[0].startswith("stream,seq") and len({len(row) for row in csv.reader(lines)}) == 1 and len(lines) > 20
    assert "received" in r.err and "pattern" in r.err


@pytest.mark.sanitize
def test_standard_output_that_closes(omma):
    """`omma run ... -o jsonl:- | head -1`: one line, not a dead process and not a hang."""
    p = omma.start("run", "-m", SHAPES, "-d", "null", "-i", "pattern:160x120@25:frames=4000", "-o", "jsonl:-")
    assert json.loads(p.stdout.readline())["seq"] == 0
    p.stdout.close()
    _, err = p.communicate(timeout=60)
    assert p.returncode == 1 and len(complaints(err)) == 1 and "Broken pipe" in err, (p.returncode, err)


class SlowReader(threading.Thread):
    """Reads a FIFO in small bites, with a pause after each; not before `gate` opens."""

    def __init__(self, path, pause=0.002, bite=512, gate=None):
        super().__init__(daemon=True)
        self.path, self.pause, self.bite, self.gate, self.data = path, pause, bite, gate, b""
        self.start()

    def run(self):
        with open(self.path, "rb", buffering=0) as f:
            if self.gate:
                wait_for(self.gate, seconds=120)
            while part := f.read(self.bite):
                self.data += part
                time.sleep(self.pause)

    def lines(self):
        self.join(60)
        assert not self.is_alive()
        return [json.loads(line) for line in self.data.decode().splitlines()]


@pytest.mark.sanitize
def test_slow_sink_loses_nothing(omma, tmp_path):
    fifo, fast = tmp_path / "slow", tmp_path / "fast.jsonl"
    os.mkfifo(fifo)
    reader = SlowReader(fifo)
    args = [a for i in range(3) for a in ("-i", f"pattern:64x48:frames=500:seed={i}")]
    omma("run", "-m", SHAPES, "-d", "null", *args, "-o", f"jsonl:{fifo}", "-o", f"jsonl:{fast}", "--sink-queue", 4)
    slow = reader.lines()
    assert len(slow) == len(records(fast)) == 1500
    for name in {r["stream"] for r in slow}:
        assert [r["seq"] for r in slow if r["stream"] == name] == list(range(500))


@pytest.mark.sanitize
def test_slow_sink_may_drop_the_oldest(omma, tmp_path):
    fifo, report = tmp_path / "slow", tmp_path / "report.json"
    os.mkfifo(fifo)
    other = tmp_path / "other.jsonl"
    # What fits into the pipe, the buffer and the queue is far less than what the other sink has by then.
    reader = SlowReader(fifo, bite=4096, gate=lambda: other.exists() and other.stat().st_size > 400000)
    omma("run", "-m", SHAPES, "-d", "null", "-i", "pattern:64x48:frames=6000", "-o", f"jsonl:{fifo}", "-o", f"jsonl:{other}",
         "--sink-policy", "drop-oldest", "--sink-queue", 2, "--report", report)
    got, r = reader.lines(), json.loads(report.read_text())
    sink = r["sinks"][0]
    assert sink["dropped"] > 0
    assert sink["written"] == len(got)
    assert sink["written"] + sink["dropped"] + sink["failed"] == 6000
    assert [x["seq"] for x in got] == sorted({x["seq"] for x in got})
    assert got[-1]["seq"] == 5999
    books(r["totals"])


def waiting(fd):
    """Bytes in a pipe."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little")


def blocked(pid):
    """Whether a thread waits for room in a pipe, as far as the system tells."""
    places = {task.joinpath("wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir()}
    return any("pipe" in place for place in places) or places <= {"", "0"}


@pytest.mark.sanitize
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "video"])
def test_fifo_that_nobody_reads(omma, tmp_path, opened, kind):
    """The stop is not held up, and the other sink keeps what it got."""
    fifo, other, report = tmp_path / "dead", tmp_path / "r.jsonl", tmp_path / "report.json"
    os.mkfifo(fifo)
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK) if opened else None
    if opened:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)  # full at once
    # A sink that hangs is left behind with all that it refers to: no leak, but one to its detector.
    env = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
    p = omma.start("run", "-m", SHAPES, "-i", "pattern:320x240:frames=0", "-o", f"{kind}:{fifo}", "-o",
                   f"jsonl:{other}", "--report", report, env=env)
    try:
        wait_for(lambda: other.exists() and other.stat().st_size and (not opened or waiting(fd) and blocked(p.pid)), p)
        err = stops_at_once(p)
    finally:
        p.kill()
        if opened:
            os.close(fd)
    assert p.returncode in (0, 1) and len(complaints(err)) == p.returncode, err
    assert "Sanitizer" not in err
    assert records(other)
    books(json.loads(report.read_text())["totals"])


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["jsonl", "csv", "video"])
def test_device_that_is_full(omma, tmp_path, kind):
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    r = omma("run", "-m", SHAPES, "-d", "null", "-i", "pattern:160x120:frames=50", "-o", f"{kind}:/dev/full", "-o", f"jsonl:{out}",
             "--report", report, code=1)
    assert len(complaints(r.err)) == 1 and "/dev/full" in r.err and "No space left" in r.err, r
    assert len(records(out)) == 50
    assert json.loads(report.read_text())["sinks"][0 if kind != "video" else 1]["error"]


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "omma-test", str(disk)], capture_output=True).returncode:
        pytest.skip("may not mount a tmpfs here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["jsonl", "csv", "video"])
def test_disk_that_fills_up(omma, tmp_path, small_disk, kind):
    file, other, report = small_disk / "x.mp4", tmp_path / "r.jsonl", tmp_path / "report.json"
    engine = ["-d", "null"] if kind != "csv" else []
    r = omma("run", "-m", SHAPES, *engine, "-i", "pattern:320x240:frames=900", "-o", f"{kind}:{file}", "-o", f"jsonl:{other}",
             "--report", report, code=1)
    assert len(complaints(r.err)) == 1 and str(file) in r.err and "No space left" in r.err, r
    assert [x["seq"] for x in records(other)] == list(range(900))
    sinks = {s["sink"]: s for s in json.loads(report.read_text())["sinks"]}
    broken = sinks[f"{kind}:{file}"]
    assert broken["error"] and broken["written"] + broken["failed"] == 900
    assert file.stat().st_size <= 65536
    if kind == "jsonl":
        assert file.read_bytes().endswith(b"\n")
        assert [x["seq"] for x in records(file)] == list(range(len(records(file))))
        assert len(records(file)) > 100
    elif kind == "csv":
        rows = list(csv.reader(file.read_text().splitlines()))
        assert file.read_bytes().endswith(b"\n") and {len(row) for row in rows} == {len(rows[0])} and len(rows) > 100
    else:
        assert packets(file) > 10


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["jsonl", *(pytest.param(k, marks=pytest.mark.long) for k in ("csv", "vtt"))])
def test_a_file_that_is_moved_or_cut_goes_on(omma, tmp_path, kind):
    """As logrotate does it, by another name or by copying and cutting: nothing is lost, every file stands for itself."""
    out, old, copy, other = tmp_path / f"r.{kind}", tmp_path / "old", tmp_path / "copy", tmp_path / "all.jsonl"
    p = omma.start("run", "-m", SHAPES, "-i", "pattern:160x120@100:frames=0", "--live", "--track", "iou", "-o", f"{kind}:{out}", "-o",
                   f"jsonl:{other}")
    try:
        size = lambda path: path.stat().st_size if path.exists() else 0
        wait_for(lambda: size(out) > 600, p)
        out.rename(old)
        wait_for(lambda: size(out) > 600, p)
        p.send_signal(signal.SIGSTOP)  # nothing is written between the copy and the cut
        copy.write_bytes(out.read_bytes())
        os.truncate(out, 0)
        p.send_signal(signal.SIGCONT)
        wait_for(lambda: size(out) > 600, p)
        err = stops_at_once(p)
    finally:
        p.kill()
    assert p.returncode == 0 and not complaints(err), err
    assert err.count("goes on in a new one") == 1 and f"{out}: was moved" in err, err
    texts = [f.read_text() for f in (old, copy, out)]
    assert all("\0" not in t for t in texts)
    if kind == "jsonl":
        rows = [json.loads(line) for t in texts for line in t.splitlines()]
        assert rows == records(other) and len(rows) > 20
    elif kind == "csv":
        assert all(t.startswith("stream,seq,") and t.count("stream,seq,") == 1 for t in texts)
        seqs = [int(line.split(",")[1]) for t in texts for line in t.splitlines() if not line.startswith("stream,")]
        assert seqs == sorted(seqs) and set(seqs) == {r["seq"] for r in records(other) if r["objects"]}
    else:
        assert all(t.startswith("WEBVTT\n\n") and t.count("WEBVTT") == 1 for t in texts)


@pytest.mark.sanitize
def test_a_folder_that_goes_away(omma, tmp_path):
    """Said once; the other sinks go on, and so does this one when the folder is back."""
    folder, other = tmp_path / "disk", tmp_path / "all.jsonl"
    folder.mkdir()
    out, video = folder / "r.jsonl", folder / "v.mp4"
    p = omma.start("run", "-m", SHAPES, "-d", "null", "-i", "pattern:160x120@100:frames=0", "--live", "-o", f"jsonl:{out}", "-o", f"jsonl:{other}",
                   "-o", f"video:{video}", stderr=(tmp_path / "err").open("w"))
    said = lambda words: words in (tmp_path / "err").read_text()
    try:
        wait_for(lambda: out.exists() and out.stat().st_size and video.stat().st_size > 5000, p)
        for file in (out, video):
            file.unlink()
        folder.rmdir()
        wait_for(lambda: said("cannot be made anew") and said("v.mp4: was removed"), p)
        folder.mkdir()
        wait_for(lambda: out.exists() and out.stat().st_size, p)
        stops_at_once(p)
    finally:
        p.kill()
    err = (tmp_path / "err").read_text()
    assert p.returncode == 0 and err.count("r.jsonl") == 2 and err.count("v.mp4") == 1, err
    back = records(out)
    assert back and back == records(other)[-len(back):]


@pytest.mark.sanitize
def test_a_video_of_pictures_of_several_sizes(omma, tmp_path):
    """All of them are in it, in the size of the first one, whole, in the middle of black; said once."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, (size, color) in enumerate((("320x240", "red"), ("640x480", "green"), ("100x240", "blue"), ("320x60", "white"), ("320x240", "red"))):
        ffmpeg("-f", "lavfi", "-i", f"color={color}:size={size}", "-frames:v", 1, folder / f"{i}.png")
    r = omma("run", "-m", SHAPES, "-d", "null", "-i", folder, "-o", f"video:{tmp_path}/v.mp4")
    assert r.err.count("fitted into the 320x240") == 1, r
    shown = frames_of(tmp_path / "v.mp4", 320, 240)
    assert len(shown) == 5
    def near(picture, x, y, *rgb):
        assert np.abs(picture[y, x] - rgb).max() < 60, (x, y, picture[y, x], rgb)
    near(shown[1], 5, 235, 0, 128, 0)
    near(shown[1], 315, 120, 0, 128, 0)
    for x, colour in ((20, (0, 0, 0)), (160, (0, 0, 255)), (120, (0, 0, 255)), (300, (0, 0, 0))):
        near(shown[2], x, 200, *colour)
    for y, colour in ((20, 0), (120, 255), (220, 0)):
        near(shown[3], 10, y, *[colour] * 3)
    near(shown[4], 5, 235, 255, 0, 0)


@pytest.mark.sanitize
def test_a_report_on_a_full_disk(omma, small_disk):
    (small_disk / "filler").write_bytes(bytes(65536))
    r = omma("run", "-m", SHAPES, "-d", "null", "-i", "pattern:64x48:frames=5", "-o", "null:", "--report", small_disk / "r.json", code=1)
    assert len(complaints(r.err)) == 1 and "r.json" in r.err
    assert not (small_disk / "r.json").exists()


def frames_of(path, width, height):
    raw = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo",
                          "-pix_fmt", "rgb24", "-"], check=True, capture_output=True, timeout=120).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).astype(int)


def test_drawn_video(omma, tmp_path):
    """Every inferred frame is in it, in its size, with a box's edge around each shape and its inside untouched."""
    width, height, n = 640, 480, 30
    files = omma("run", "-m", SHAPES, "-i", f"pattern:{width}x{height}@25:frames={n}:seed=3", "-i", f"pattern:322x242@25:frames={n}:seed=4",
                 "-o", f"video:{tmp_path}/out_%s.mp4", "-o", f"jsonl:{tmp_path}/r.jsonl") and sorted(tmp_path.glob("*.mp4"))
    assert [f.name for f in files] == ["out_pattern-2.mp4", "out_pattern.mp4"]
    assert packets(files[0]) == packets(files[1]) == n
    pictures, seen = frames_of(files[1], width, height), 0
    assert len(pictures) == n and len(frames_of(files[0], 322, 242)) == n
    for seq, picture in enumerate(pictures):
        boxes = [truth(width, height, 3, seq, i) for i in range(3)]
        if not all(apart(boxes[i], boxes[k]) for i in range(3) for k in range(i)):
            continue
        for i, (x, y, w, h) in enumerate(boxes):
            if x < 8 or x + w > width - 8 or y + h > height - 8 or y < 40:
                continue
            middle = picture[y + h // 2, x + w // 2]
            assert middle[i] > 180 and sum(middle) - middle[i] < 160, (seq, i, middle)
            # Somewhere within three pixels of the lower edge a line runs that is neither shape nor background.
            column = picture[y + h - 4:y + h + 4, x + w // 2]
            plain = [np.abs(column - middle).max(axis=1) < 50, np.abs(column - 126 * 1.164 + 18).max(axis=1) < 40]
            assert not (plain[0] | plain[1]).all(), (seq, i, column.tolist())
            seen += 1
    assert seen > 5


def test_letters_of_a_font(omma, tmp_path):
    """A character of the user's font is drawn pixel for pixel; without it there is a box; a font that is none is told of first."""
    (tmp_path / "names.txt").write_text("京\n京\n京\n", encoding="utf-8")
    (tmp_path / "full.hex").write_text("4EAC:" + "F" * 64 + "\n")
    run = ["run", "-m", SHAPES, "--labels", tmp_path / "names.txt", "-i", "pattern:640x480:frames=1:seed=3", "-q"]
    bright = {}
    for name, font in (("with", ["--font", tmp_path / "full.hex"]), ("without", [])):
        omma(*run, "-o", f"video:{tmp_path}/{name}.mp4", *font)
        [picture] = frames_of(tmp_path / f"{name}.mp4", 640, 480)
        bright[name] = picture
    changed = np.abs(bright["with"] - bright["without"]).max(axis=2) > 60
    assert 3 * 20 < changed.sum() < 3 * 400
    (tmp_path / "bad.hex").write_text("4EAC:FF\n")
    for font, says in (("bad.hex", "bad.hex:1: no line of a .hex font"), ("none.hex", "none.hex: cannot open")):
        r = omma(*run, "-o", "null:", "--font", tmp_path / font, code=None)
        assert r.code in (1, 2) and len(r.err.splitlines()) == 1 and says in r.err, r


@pytest.mark.sanitize
def test_a_stream_that_fails_leaves_no_empty_video(omma, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    omma("run", "-m", SHAPES, "-d", "null", "-i", tmp_path / "broken.mp4", "-i", "pattern:64x48:frames=5", "-o",
         f"video:{tmp_path}/out_%s.mp4", code=1)
    assert [f.name for f in tmp_path.glob("out_*")] == ["out_pattern.mp4"]
    assert packets(tmp_path / "out_pattern.mp4") == 5


@pytest.mark.sanitize
def test_files_are_replaced_not_extended(omma, tmp_path):
    for kind in ("jsonl", "csv", "video"):
        out = tmp_path / f"x.{kind}"
        out.write_bytes(b"old rubbish\n" * 100000)
        omma("run", "-m", SHAPES, "-d", "null", "-i", "pattern:64x48:frames=5", "-o", f"{kind}:{out}")
        assert b"rubbish" not in out.read_bytes()


@pytest.mark.long
def test_memory_a_stream(omma, tmp_path):
    """Four more 1080p streams cost at most 40 MB each."""
    video, peaks = tmp_path / "v.mp4", []
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=25", "-frames:v", "50", "-c:v",
                    "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", str(video)], check=True, timeout=300)
    for n in (1, 5):
        report = tmp_path / "report.json"
        omma("run", "-m", SHAPES, *CPU, *(["-i", video] * n), "-o", "null:", "--report", report, timeout=300)
        peaks.append(json.loads(report.read_text())["totals"]["memory_peak_mb"])
    assert (peaks[1] - peaks[0]) / 4 <= 40, peaks


def test_the_run_ends_when_nobody_listens(omma):
    """`omma run ... | head -1` on an endless stream."""
    p = omma.start("run", "-m", SHAPES, "-d", "null", "-i", "pattern:160x120:frames=0", "-o", "jsonl:-")
    assert p.stdout.readline().startswith('{"stream"')
    p.stdout.close()
    assert p.wait(timeout=30) == 1
    assert "Broken pipe" in p.stderr.read()
