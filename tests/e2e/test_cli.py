"""The command's front: help, mistakes, exit codes, tools for models, what a run says."""
import json
import os
import re
import signal
import time

import onnx
import pytest

from conftest import BUILD, SANITIZED, ffmpeg, records

COMMANDS = ["run", "detect", "model inspect", "model import", "model batch", "model synth", "bench", "frames", "annotate", "faces", "worker", "train", "launch", "ctl", "info", "init"]
NULL = ("-d", "null")


@pytest.fixture(scope="module")
def picture(media, session_dir):
    out = session_dir / "street.png"
    ffmpeg("-i", media / "vtest.avi", "-frames:v", "1", out)
    return out


def mistake(omma, *args, says, **options):
    """A usage error: exit code 2, one line, nothing on stdout."""
    result = omma(*args, code=2, **options)
    assert result.out == "" and len(result.err.splitlines()) == 1, result
    assert re.search(says, result.err), result


@pytest.mark.sanitize
@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(omma, command):
    result = omma(*command.split(), "--help")
    assert result.err == ""
    assert result.out.startswith(f"Usage: omma {command} ")
    assert "\nExamples:\n  omma " in result.out
    assert max(map(len, result.out.splitlines())) <= 100
    assert omma("help", *command.split()).out == result.out


def test_help_and_version(omma):
    listed = re.findall(r"^  ([a-z]+)  ", omma("--help").out, re.MULTILINE)
    assert listed == ["run", "detect", "model", "bench", "profile", "eval", "collect", "build", "quantize", "frames", "annotate", "faces", "worker", "train", "launch", "ctl", "info", "init"]
    assert re.fullmatch(r"omma \d+\.\d+\.\d+\n", omma("--version").out)
    assert omma(code=2).out == omma("--help").out
    assert omma("model", code=2).out == omma("model", "--help").out


@pytest.mark.sanitize
@pytest.mark.parametrize("args, says", [
    (["rnu"], "unknown command 'rnu'; did you mean 'run'"),
    (["zzz"], "unknown command 'zzz'; 'omma --help' lists"),
    (["model", "inspekt"], "did you mean 'inspect'"),
    (["run", "--modle", "x"], "unknown flag '--modle'; did you mean '--model'"),
    (["run", "-model", "x"], "did you mean '--model'"),
    (["run", "--no-progres"], "did you mean '--no-progress'"),
    (["run", "-m"], "'-m' needs a value"),
    (["run", "--conf", "much"], "conf.*'much' is not a number"),
    (["run", "-m", "x.onnx"], "no stream"),
    (["run", "pattern:"], "no model"),
    (["run", "-m", "x.onnx", "pattern:", "-o", "jsn:x"], "unknown sink.*jsonl"),
    (["run", "-m", "x.onnx", "pattern:", "--log-level", "loud"], "expected error, warn, info or debug"),
    (["run", "-m", "x.onnx", "pattern:", "--cpu-mask", "sse"], "not a CPU mask"),
    (["run", "a.yaml", "b.yaml"], "a.yaml"),
    (["run", "missing.yaml"], "missing.yaml"),
    (["detect", "x.png"], "no model"),
    (["detect", "-m", "x.onnx"], "no picture"),
    (["model", "import", "a.cfg"], "expected CFG and WEIGHTS"),
    (["model", "synth", "yolov8n"], "no output"),
    (["model", "synth", "yolo8n", "-o", "x.onnx"], "yolov8n"),
    (["model", "batch", "x.onnx", "-o", "y.onnx", "--batch", "many"], "expected 'dynamic' or a number"),
    (["info", "x"], "unexpected 'x': expected no arguments$"),
])
def test_mistakes_are_one_line(omma, tmp_path, args, says):
    if args[0] == "run" and args[-1].endswith(".yaml"):
        for name in set(args[1:]) - {"missing.yaml"}:
            (tmp_path / name).write_text("model: x.onnx\n")
    mistake(omma, *args, says=says, cwd=tmp_path)


def test_failures_exit_1(omma, tmp_path, yolov8n):
    assert "nope.onnx" in omma("run", "-m", "nope.onnx", "pattern:", code=1, cwd=tmp_path).err
    result = omma("run", *NULL, "-m", yolov8n, "nope.mp4", code=1, cwd=tmp_path)
    assert len(result.err.splitlines()) == 1 and "nope.mp4" in result.err and result.out == "", result
    assert "no/such" in omma("run", *NULL, "-m", yolov8n, "pattern:", "--report", "no/such/r.json", code=1, cwd=tmp_path).err
    with open("/dev/full", "w") as full:
        assert "standard output" in omma("info", code=1, stdout=full).err


@pytest.mark.sanitize
@pytest.mark.parametrize("output,n,says", [("found.gif", 1, "written as .jpg or .png"), ("no/found.png", 1, "No such file"),
                                           ("no/found/", 1, "No such file"), ("no/found", 2, "No such file"),
                                           ("file", 2, "is no folder, which 2 pictures would go into"),
                                           ("file/", 1, "is no folder, which 1 picture would go into")])
def test_detect_looks_where_it_draws_before_the_work(omma, tmp_path, output, n, says):
    """The model, which is not there, is not even looked for."""
    (tmp_path / "file").write_text("x")
    result = omma("detect", "-m", "none.onnx", *["x.png", "y.png"][:n], "-o", output, code=None, cwd=tmp_path)
    assert result.code and len(result.err.splitlines()) == 1 and says in result.err, result
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_one_stream_fails_the_others_go_on(omma, yolov8n, tmp_path):
    result = omma("run", *NULL, "-m", yolov8n, "nope.mp4", "pattern::frames=20", code=1, cwd=tmp_path)
    assert re.search(r"^failed +nope: nope.mp4: No such file", result.out, re.MULTILINE), result
    assert re.search(r"^pattern +640x480 +20 +20 +0 ", result.out, re.MULTILINE), result


@pytest.mark.sanitize
def test_init_round_trip(omma, tmp_path):
    omma("init", cwd=tmp_path)
    mistake(omma, "init", says="omma.yaml exists.*--force", cwd=tmp_path)
    omma("init", "--force", cwd=tmp_path)
    assert omma("init", "-o", "-", cwd=tmp_path).out == (tmp_path / "omma.yaml").read_text()
    mistake(omma, "run", "--check", "omma.yaml", says="model.onnx", cwd=tmp_path)
    (tmp_path / "model.onnx").touch()
    mistake(omma, "run", "--check", "omma.yaml", says="video.mp4", cwd=tmp_path)
    (tmp_path / "video.mp4").touch()
    result = omma("run", "--check", "omma.yaml", cwd=tmp_path)
    assert "gate: rtsp://" in result.out and "password" not in result.out and "jsonl:results.jsonl" in result.out
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "omma.yaml", "video.mp4"]


def test_flags_win_over_the_file(omma, yolov8n, tmp_path):
    """Wherever they stand; -i and -o add to what the file names."""
    (tmp_path / "c.yaml").write_text("model: nope.onnx\nmax-frames: 50\nstreams: ['pattern:64x64@25']\nsinks: ['jsonl:a']\n")
    for args in (["--max-frames", "5", "-m", yolov8n, "c.yaml"], ["c.yaml", "--max_frames=5", f"--model={yolov8n}"]):
        omma("run", *NULL, *args, "-i", "pattern:96x96@25", "-o", "jsonl:b", cwd=tmp_path)
        for name in "ab":
            found = [r["stream"] for r in records(tmp_path / name)]
            assert {s: found.count(s) for s in found} == {"pattern": 5, "pattern-2": 5}


@pytest.mark.race
@pytest.mark.sanitize
def test_results_on_stdout_stay_clean(omma, tmp_path, yolov8n):
    result = omma("run", *NULL, "-m", yolov8n, "pattern::frames=30", "-o", "jsonl:-", "--stats", "100ms", "--live")
    assert [json.loads(line)["seq"] for line in result.out.splitlines()] == list(range(30))
    assert "stream" in result.err and "total" not in result.err and "fps  latency" in result.err
    assert omma("run", *NULL, "-m", yolov8n, "pattern::frames=3", "--quiet").out == ""


@pytest.mark.race
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_is_graceful(omma, yolov8n, tmp_path, number):
    process = omma.start("run", *NULL, "-m", yolov8n, "pattern::frames=0", "--live", "--report", "r.json", "-o", "jsonl:l",
                         "--trace", "t.json", cwd=tmp_path)
    time.sleep(6 if SANITIZED else 2)
    process.send_signal(number)
    begin = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert time.monotonic() - begin < (10 if SANITIZED else 2)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["totals"]["inferred"] == len(records(tmp_path / "l")) > 0
    assert "(stopped)" in out
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]


@pytest.mark.race
def test_second_signal_ends_at_once(omma, yolov8n, tmp_path):
    process = omma.start("run", *NULL, "-m", yolov8n, "pattern::frames=0", "--live", cwd=tmp_path)
    time.sleep(6 if SANITIZED else 2)
    # Stopped, so that both are pending when it goes on.
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_inspect_centerface(omma, models):
    found = json.loads(omma("model", "inspect", models / "centerface.onnx", "--json", "--layers").out)
    model = onnx.load(models / "centerface.onnx")
    assert found["family"] == "centerface"
    assert [v["name"] for v in found["outputs"]] == [v.name for v in model.graph.output]
    assert found["inputs"] == [{"name": "input.1", "type": "f32", "shape": [10, 3, 32, 32]}]
    assert found["opsets"] == {"": model.opset_import[0].version}
    operators = [node.op_type for node in model.graph.node]
    assert found["operators"] == {op: operators.count(op) for op in operators}
    assert len(found["layers"]) == len(operators)
    text = omma("model", "inspect", models / "centerface.onnx", "--layers").out
    assert re.search(r"^family +centerface: ", text, re.MULTILINE) and "1x32x320x320" in text


def test_import_says_what_it_made(omma, models, tmp_path):
    result = omma("model", "import", models / "yolov3-tiny.cfg", models / "yolov3-tiny.weights", "-o", "y.onnx",
                  "--labels", models / "yolov3-tiny.names", cwd=tmp_path)
    assert re.fullmatch(r"y.onnx: yolov3, 80 classes, input \?x3x\?x\?, 8.85 M parameters, [\d.]+ MB\n", result.out)
    onnx.checker.check_model(onnx.load(tmp_path / "y.onnx"), full_check=True)
    assert os.listdir(tmp_path) == ["y.onnx"]


def dims(path):
    return [d.dim_value or d.dim_param for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]


def test_synth_and_batch(omma, tmp_path):
    names = omma("model", "synth", "--list").out.split()
    assert {"yolov8n", "yolov5s"} <= set(names)
    omma("model", "synth", "yolov8n", "-o", "a.onnx", "--size", "320x256", "--classes", "3", cwd=tmp_path)
    assert dims(tmp_path / "a.onnx") == [1, 3, 256, 320]
    omma("model", "batch", "a.onnx", "-o", "b.onnx", cwd=tmp_path)
    free = dims(tmp_path / "b.onnx")
    assert free[1] == 3 and all(isinstance(d, str) for d in (free[0], free[2], free[3])), free
    omma("model", "batch", "a.onnx", "-o", "c.onnx", "--batch", "8", cwd=tmp_path)
    assert dims(tmp_path / "c.onnx") == [8, 3, 256, 320]
    omma("model", "batch", "b.onnx", "-o", "d.onnx", "--size", "96x64", "--batch", "2", cwd=tmp_path)
    assert dims(tmp_path / "d.onnx") == [2, 3, 64, 96]
    for name in "abcd":
        onnx.checker.check_model(onnx.load(tmp_path / f"{name}.onnx"), full_check=True)
    assert json.loads(omma("model", "inspect", "b.onnx", "--json", cwd=tmp_path).out)["dynamic_size"] is True


def test_info(omma):
    found = json.loads(omma("info", "--json").out)
    assert found["cores"] >= 1 and found["memory_mb"] > 100
    assert "null" in [b["name"] for b in found["backends"]]
    assert {"jsonl", "csv", "video", "null", "vtt"} == {s["name"] for s in found["sinks"]}
    assert {"file", "images", "http", "rtsp", "v4l2", "pattern"} == {s["name"] for s in found["sources"]}
    assert {"h264", "hevc", "vp9", "mjpeg"} <= {d["codec"] for d in found["decoders"] if d["decoder"]}
    text = omma("info").out
    for thing in [found["cpu"], *(d["id"] for d in found["devices"])]:
        assert thing in text


def test_detect(omma, yolov3_tiny, picture, tmp_path):
    if not list(BUILD.rglob("omma-openvino.so")):
        pytest.skip("no engine in this build")
    (tmp_path / "bad.png").write_text("not a picture")
    result = omma("detect", "-m", yolov3_tiny, picture, "--json", "d.json", "-o", "found.jpg", "--repeat", "3", cwd=tmp_path)
    found = json.loads((tmp_path / "d.json").read_text())
    people = [o for o in found["images"][0]["objects"] if o["class"] == "person"]
    assert len(people) >= 2 and all(o["score"] >= 0.25 for o in people)
    assert result.out.startswith(f"{picture}  768x576  ") and "3 pictures in" in result.out
    for step in ("load", "prep", "infer", "head"):
        t = found["timings_ms"][step]
        assert 0 <= t["min"] <= t["median"] <= t["p95"]
    ffmpeg("-i", tmp_path / "found.jpg", tmp_path / "found.ppm")
    assert (tmp_path / "found.ppm").read_bytes().startswith(b"P6\n768 576\n")
    result = omma("detect", "-m", yolov3_tiny, "bad.png", picture, "-o", "all", "-b", "2", "--json", "-", code=1, cwd=tmp_path)
    assert "bad.png" in result.err and json.loads(result.out)["images"][0]["objects"] == found["images"][0]["objects"]
    assert os.listdir(tmp_path / "all") == ["0001_street.png"]
