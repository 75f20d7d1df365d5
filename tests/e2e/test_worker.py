"""omma worker: rows, phases, cores, warnings, words for what is wrong."""
import csv
import http.server
import json
import os
import random
import re
import resource
import signal
import threading
import time
from pathlib import Path

import pytest
from conftest import BUILD, ROOT, free_port, wait_for
from live import Cameras, h264

SHAPES = ROOT / "tests/data/shapes.onnx"
NULL = ["--device", "null:3000"]
COLUMNS = ["step", "read_latency_ms", "prep_latency_ms", "exec_latency_ms", "total_step_latency_ms", "loss"]


def rows(folder):
    """The rows of the one metrics file there."""
    (path,) = Path(folder).glob("M_*_metrics.csv")
    text = path.read_text()
    assert text.endswith("\n")
    found = list(csv.DictReader(text.splitlines()))
    assert text.splitlines()[0].split(",") == COLUMNS
    return found


def log(folder):
    (path,) = Path(folder).glob("M_*.log")
    return path.read_text()


def check_sums(found):
    for row in found:
        parts = sum(float(row[c]) for c in COLUMNS[1:4])
        assert parts == pytest.approx(float(row["total_step_latency_ms"]), rel=0.03)


def wait_for_rows(folder, n, process):
    wait_for(lambda: any(p.read_text().count("\n") > n for p in Path(folder).glob("*.csv")), process)


@pytest.mark.sanitize
@pytest.mark.race
def test_a_row_a_step(omma, tmp_path):
    """Both spellings; the input's last batch is a small one; rows begin after the warm-up."""
    out = omma("worker", "--model_name", SHAPES, "--input_path", "pattern:160x120:frames=30", "--batch-size", 4, *NULL,
               "--warmup", 2, "-o", tmp_path / "w").out
    found = rows(tmp_path / "w")
    assert [int(r["step"]) for r in found] == list(range(6))
    assert all(float(r["exec_latency_ms"]) >= 3 and r["loss"] == "" for r in found)
    check_sums(found)
    text = log(tmp_path / "w")
    for part in ("config: model-name=", "batch-size=4", "system: processor:", "input: pattern", "engine: null",
                 "summary: 6 steps, 22 frames"):
        assert part in text, text
    assert "22 frames" in out and "M_shapes_P_" in out


@pytest.mark.long
def test_progress_is_logged(omma, tmp_path):
    """Every five seconds: a bar, the steps, their rate and their parts."""
    omma("worker", "-m", SHAPES, "-i", "pattern:64x48:frames=0", "--device", "null:100000", "--max-steps", 60, "-o", tmp_path, "-q")
    lines = re.findall(r"\[(#*)(\.*)\]  (\d+) steps  ([\d.]+) fps  read [\d.]+  prep [\d.]+  exec ([\d.]+) ms", log(tmp_path))
    assert lines and all(len(a) + len(b) == 24 and len(a) == int(int(n) / 60 * 24) for a, b, n, _, _ in lines)
    assert all(0 < float(fps) <= 10 and float(ms) >= 100 for *_, fps, ms in lines)


def test_a_short_file_starts_again(omma, tmp_path):
    omma("worker", "-m", SHAPES, "-i", "pattern:160x120:frames=7", *NULL, "--max-steps", 40, "-o", tmp_path, "-q")
    assert len(rows(tmp_path)) == 40


def test_real_engine_real_video_every_prep_level(omma, media, tmp_path):
    """Known model by name; more work on a picture takes longer."""
    means = []
    for level in ("simple", "medium", "complex"):
        omma("worker", "--model-name", "mobilenet_v2", "--input-path", media / "bikes.mp4", "--batch-size", 2,
             "--prep-level", level, "--max-steps", 6, "-o", tmp_path / level)
        found = rows(tmp_path / level)
        check_sums(found)
        means.append(sorted(float(r["prep_latency_ms"]) for r in found)[0])
        assert "its weights are random" in log(tmp_path / level)
    assert means[0] < means[2] and means[1] < means[2]


def test_compile_and_amp(omma, media, tmp_path):
    omma("worker", "--model-name", "mobilenet_v2", "--input-path", media / "bikes.mp4", "--enable_compile", "--use_amp",
         "--max-steps", 2, "-o", tmp_path)
    text = log(tmp_path)
    assert "tried: latency" in text and "taken:" in text
    assert "asked for: " in text and len(rows(tmp_path)) == 2


def test_threads_follow_the_cores(omma, media, tmp_path):
    core = max(os.sched_getaffinity(0))
    process = omma.start("worker", "--model-name", "mobilenet_v2", "--input-path", media / "bikes.mp4", "--core-bind", core,
                         "--max-steps", 100000, "-o", tmp_path, "-q")
    try:
        wait_for_rows(tmp_path, 3, process)
        allowed = {}
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
            allowed[status["Name"].strip()] = status["Cpus_allowed_list"].strip()
        allowed.pop("om-signals", None)  # sleeps until a signal comes
        assert set(allowed.values()) == {str(core)}, allowed
        other = omma("worker", "-m", SHAPES, "-i", "pattern:frames=4", *NULL, "--core-bind", core, "-o", tmp_path / "b")
        assert f"worker {process.pid} may run on the same core {core}" in other.err
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "summary:" in log(tmp_path)


def test_a_stop_is_no_error_wherever_it_comes(omma, media, tmp_path):
    """While a model is loaded, a video opened, a split measured that would take minutes."""
    for i, wait in enumerate((0.15, 0.25, 0.4, 0.6)):
        process = omma.start("worker", "-m", "mobilenet_v2", "-i", media / "bikes.mp4", "-o", tmp_path / str(i))
        wait_for(lambda: list((tmp_path / str(i)).glob("*.log")), process)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0 and "omma worker: " not in err, err
    process = omma.start("worker", "-m", "mobilenet_v2", "-i", "pattern:frames=4", "--split-sweep", "--max-steps", 1000, "-d", "null:100000",
                         "-o", tmp_path / "s")
    wait_for(lambda: "sweep: " in "".join(p.read_text() for p in (tmp_path / "s").glob("*.log")), process)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and (tmp_path / "s/split_mobilenet_v2.json").exists(), err


def test_killed_rows_are_whole(omma, tmp_path):
    for i in range(3):
        folder = tmp_path / str(i)
        process = omma.start("worker", "-m", SHAPES, "-i", "pattern:64x48:frames=0", "--device", "null:0", "-o", folder, "-q")
        wait_for_rows(folder, 50 + 37 * i, process)
        process.kill()
        process.communicate(timeout=10)
        found = rows(folder)
        assert all(None not in r.values() and None not in r for r in found)
        assert [int(r["step"]) for r in found] == list(range(len(found)))


@pytest.mark.long
def test_killed_fifty_times(omma, tmp_path):
    """At any moment, from its start on: what is in the file is a heading and whole rows that sum up, or nothing."""
    draw = random.Random(11)
    written = 0
    for batch in range(10):
        folders = [tmp_path / f"{batch}_{i}" for i in range(5)]
        running = [omma.start("worker", "-m", SHAPES, "-i", "pattern:64x48:frames=0", "--device", "null:200", "--warmup", 0, "-o", f, "-q")
                   for f in folders]
        for process, folder in zip(running, folders):
            if batch % 2:
                wait_for_rows(folder, draw.randrange(200), process)
            time.sleep(draw.uniform(0, 0.1))
            process.kill()
        for process, folder in zip(running, folders):
            process.communicate(timeout=30)
            text = "".join(p.read_text() for p in folder.glob("*.csv"))
            if text:
                assert text.endswith("\n") and text.splitlines()[0].split(",") == COLUMNS
                found = [line.split(",") for line in text.splitlines()[1:]]
                assert all(len(r) == len(COLUMNS) for r in found) and [int(r[0]) for r in found] == list(range(len(found)))
                check_sums([dict(zip(COLUMNS, r)) for r in found])
                written += bool(found)
    assert written >= 25


def limit_files(size):
    """Files of this process end there, as those of a full disk do."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.race
def test_full_disk_tears_no_row(omma, tmp_path):
    """What no longer fits is said, and what the file holds of the last row is taken back."""
    for size in (3000, 3001, 3017):
        folder = tmp_path / str(size)
        result = omma("worker", "-m", SHAPES, "-i", "pattern:64x48:frames=0", "--device", "null:0", "-o", folder, "-q", code=1,
                      preexec_fn=limit_files(size))
        assert "_metrics.csv: cannot write: File too large" in result.err and result.err.count("\n") == 1
        found = rows(folder)
        assert len(found) > 20 and all(None not in r.values() and None not in r for r in found)
        check_sums(found)


def test_inputs_that_are_not_there(omma, tmp_path):
    """A server that has no such file, one that is not there, a folder without pictures."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "empty").mkdir()
    try:
        for uri, words in ((f"http://127.0.0.1:{server.server_address[1]}/none.mp4", "none.mp4: Server returned 404 Not Found"),
                           (f"http://127.0.0.1:{free_port()}/a.mp4", "a.mp4: Connection refused"),
                           (tmp_path / "empty", "empty: no pictures in this folder")):
            result = omma("worker", "-m", SHAPES, "-i", uri, *NULL, "-o", tmp_path / "w", "-q", code=1)
            assert words in result.err and result.err.count("\n") == 1, result
    finally:
        server.shutdown()
        server.server_close()


def test_inputs_over_the_network(omma, tmp_path):
    """A file of a web server, and a camera of a real RTSP server."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cameras = Cameras([h264(tmp_path / "clip.h264", "160x120")])
    try:
        for kind, uri in (("http", f"http://127.0.0.1:{server.server_address[1]}/clip.h264"), ("rtsp", cameras.url())):
            omma("worker", "-m", SHAPES, "-i", uri, *NULL, "-b", 2, "--max-steps", 4, "-o", tmp_path / kind, "-q")
            found = rows(tmp_path / kind)
            assert len(found) == 4
            check_sums(found)
    finally:
        cameras.close()
        server.shutdown()
        server.server_close()


@pytest.mark.race
def test_trace_has_each_phase(omma, tmp_path):
    omma("worker", "-m", SHAPES, "-i", "pattern:64x48:frames=9", *NULL, "--trace", tmp_path / "t.json", "-o", tmp_path)
    events = json.loads((tmp_path / "t.json").read_text())
    events = events["traceEvents"] if isinstance(events, dict) else events
    for phase in ("step", "read", "prep", "exec"):
        assert sum(e.get("name") == phase and e.get("ph") == "X" for e in events) >= 9


def test_passwords_stay_out_of_the_log(omma, tmp_path):
    result = omma("worker", "-m", SHAPES, "-i", "rtsp://me:secret@127.0.0.1:1/x", *NULL, "-o", tmp_path, code=1)
    assert "rtsp://" in log(tmp_path) and "secret" not in log(tmp_path) + result.err


def test_labels(omma, tmp_path):
    names = tmp_path / "names"
    names.write_text("rot\ngruen\nblau\n")
    result = omma("worker", "-m", SHAPES, "-i", "pattern:320x240:frames=12", "--labels", names, "-o", tmp_path)
    assert "found: " in result.err and "rot" in result.err
    names.write_text("rot\ngruen\n")
    result = omma("worker", "-m", SHAPES, "-i", "pattern:frames=9", "--labels", names, "-o", tmp_path / "x", "-q", code=2)
    assert "2 class names" in result.err and "3" in result.err


@pytest.mark.parametrize("args,code,words", [
    ([], 2, "no model"),
    (["-m", "x"], 2, "no input"),
    (["-m", "x", "-i", "pattern:"], 1, "no name of a model that can be made: yolov8n"),
    (["-m", "x", "-i", "pattern:", "--trace", "/nowhere/t.json"], 1, "--trace: /nowhere/t.json: cannot write"),
    (["-m", SHAPES, "-i", "missing.mp4"], 1, "missing.mp4: No such file"),
    (["-m", SHAPES, "-i", "987"], 1, "camera 987: there is no /dev/video987"),
    (["-m", SHAPES, "-i", "pattern:", "--core-bind", "0-9999"], 2, "for this process; it has"),
    (["-m", SHAPES, "-i", "pattern:", "--core-bind", "3-1"], 2, "not a list of cores"),
    (["-m", SHAPES, "-i", "pattern:", "--core-bind", "one"], 2, "not a list of cores"),
    (["-m", SHAPES, "-i", "pattern:", "--batch-size", "0"], 2, "not from 1 to 128"),
    (["-m", SHAPES, "-i", "pattern:", "--prep-level", "hard"], 2, "not one of simple, medium, complex"),
    (["-m", SHAPES, "-i", "pattern:", "--mode", "train"], 2, "not one of inference, retrain"),
    (["-m", SHAPES, "-i", "pattern:", "--mode", "retrain"], 2, "does not end in a classifier's layer"),
    (["-m", SHAPES, "-i", "pattern:", "stray"], 2, "unexpected 'stray'"),
    (["-m", SHAPES, "-i", "pattern:frames=3", "--warmup", "9"], 1, "before the first measured step"),
])
def test_bad_input(omma, tmp_path, args, code, words):
    result = omma("worker", "-q", *NULL, *args, code=code, cwd=tmp_path)
    assert words in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("prep", [False, True])
@pytest.mark.parametrize("infer", [False, True])
def test_placements(omma, tmp_path, prep, infer):
    """With a plug-in that stands for a GPU: its memory is kept apart, what it prepares is real, its engine computes
    nothing."""
    flags = ["--gpu", "flaky:900"] + ["--prep-on-gpu"] * prep + ["--infer-on-gpu"] * infer
    result = omma("worker", "-m", SHAPES, "-i", "pattern:320x240:frames=12", "-b", 2, "--warmup", 1, *flags, "-o", tmp_path,
                  env={**os.environ, "OMMA_PLUGINS": f"{BUILD}/tests/conform:{BUILD}/src/backend/openvino"})
    assert f"prepares on {'flaky:900' if prep else 'cpu'}, infers on {'flaky:900' if infer else 'auto'}" in result.err
    found = rows(tmp_path)
    assert len(found) == 5
    check_sums(found)
    if not infer:
        assert "found: red 10, green 10, blue 10" in result.err


@pytest.mark.parametrize("flag", ["--infer-on-gpu", "--prep-on-gpu"])
@pytest.mark.parametrize("busy", [0, 40])
def test_a_gpu_that_others_use_is_told(omma, tmp_path, flag, busy):
    """Asked before the worker itself tries kernels out on it: its own work is nobody else's."""
    result = omma("worker", "-m", SHAPES, "-i", "pattern:320x240:frames=12", flag, "--enable-compile", "--gpu", "flaky:900", "-o", tmp_path,
                  env={**os.environ, "OMMA_TEST_BUSY": str(busy), "OMMA_PLUGINS": f"{BUILD}/tests/conform:{BUILD}/src/backend/openvino"})
    assert ("warning: flaky:900 is busy already: 40%" in result.err) == (busy == 40), result.err


def test_the_whole_configuration_is_logged(omma, tmp_path):
    """However long its paths are."""
    folder = tmp_path / ("f" * 200) / ("g" * 200) / ("h" * 200)
    folder.mkdir(parents=True)
    for name in ("a" * 200, "b" * 200):
        (folder / name).write_text("rot\ngruen\nblau\n")
    omma("worker", "-m", SHAPES, "-i", "pattern:64x48:frames=9", *NULL, "--labels", folder / ("a" * 200), "--trace", folder / ("b" * 200),
         "-o", tmp_path / "w")
    config = next(line for line in log(tmp_path / "w").splitlines() if "config: " in line)
    assert f"labels={folder}/{'a' * 200} " in config and f"trace={folder}/{'b' * 200} " in config and config.endswith("log-level=warn")


@pytest.mark.parametrize("flag", ["--save", "--checkpoint", "--trace"])
def test_files_are_tried_before_the_first_step(omma, tmp_path, flag):
    """Not after hours of training."""
    words = ["worker", "-m", ROOT / "tests/data/classify.onnx", "-i", "pattern:64x48:frames=0", "--mode", "retrain", "-o", tmp_path / "w"]
    for path, why in ((tmp_path / "none/x", "No such file"), (tmp_path, "is a directory")):
        done = omma(*words, flag, path, code=1, timeout=30)
        assert done.err.count("\n") == 1 and f"{flag}: {path}: cannot write: {why}" in done.err
    if flag != "--save":
        done = omma(*words, flag, tmp_path / "same", "--save", tmp_path / "same", code=2, timeout=30)
        assert "would both write" in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--infer-on-gpu", "--prep-on-gpu"])
def test_no_gpu_plug_in(omma, tmp_path, flag):
    if any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    result = omma("worker", "-q", "-m", SHAPES, "-i", "pattern:", flag, "-o", tmp_path, code=1)
    assert result.err.startswith(f"omma worker: {flag}: ") and "cuda:0" in result.err
