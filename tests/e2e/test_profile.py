"""omma profile: layers, files, causes, comparisons; omma run --profile: stages, metrics, traces."""
import csv
import json
import os
import re
import shutil
import signal
import subprocess

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import plants
from conftest import DEPS, ROOT, wait_for

QUICK = ("--iterations", "3")
SHAPES = ROOT / "tests/data/shapes.onnx"
PATTERN = "pattern:320x240@25:frames=60"


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """The machine's limits are measured once for all of these tests, and nobody else's are touched."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def small(session_dir):
    """conv -> silu -> depthwise -> relu -> pointwise + residual, with a batch normalisation."""
    rng = np.random.default_rng(3)
    nodes, weights = [], {}
    helper = onnx.helper
    plants._conv(nodes, weights, rng, "first", "images", 3, 32, 3)
    for name in ("scale", "bias", "mean", "var"):
        weights[name] = np.abs(rng.standard_normal(32)).astype(np.float32) + 1
    nodes.append(helper.make_node("BatchNormalization", ["first", "scale", "bias", "mean", "var"], ["bn"], name="bn"))
    nodes.append(helper.make_node("Sigmoid", ["bn"], ["gate"], name="gate"))
    nodes.append(helper.make_node("Mul", ["bn", "gate"], ["silu"], name="silu"))
    plants._conv(nodes, weights, rng, "dw", "silu", 32, 32, 3, group=32)
    nodes.append(helper.make_node("Relu", ["dw"], ["relu"], name="relu"))
    plants._conv(nodes, weights, rng, "pw", "relu", 32, 32, 1)
    nodes.append(helper.make_node("Add", ["pw", "silu"], ["sum"], name="sum"))
    nodes.append(helper.make_node("Softmax", ["sum"], ["out"], name="soft", axis=1))
    return plants._save(session_dir / "small.onnx", nodes, weights, 64)


@pytest.fixture(scope="module")
def profile(omma, small, session_dir):
    path = session_dir / "small.json"
    omma("profile", small, *QUICK, "--json", path, "--csv", session_dir / "small.csv", "--html", session_dir / "small.html")
    return json.loads(path.read_text())


def macs(model, size=64):
    """Multiply-adds by shape inference of onnx."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(model)).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*graph.value_info, *graph.output]}
    weights = {w.name: w.dims for w in graph.initializer}
    return {n.output[0]: int(np.prod(shapes[n.output[0]]) * np.prod(weights[n.input[1]][1:])) for n in graph.node
            if n.op_type == "Conv"}


def test_layers_name_their_operators(profile, small):
    by_operator = {op.split(" ")[0]: layer for layer in profile["layers"] for op in layer["operators"]}
    assert {"first", "bn", "gate", "silu", "dw", "relu", "pw", "sum", "soft"} <= set(by_operator), "none is lost"
    assert by_operator["first"]["name"] == by_operator["bn"]["name"] == by_operator["silu"]["name"], "one layer"
    assert by_operator["dw"]["type"] == "Conv dw"
    for name, count in macs(small).items():
        assert by_operator[name]["macs"] in (count, sum(macs(small)[n] for n in ("pw", "dw"))), name
    assert sum(layer["macs"] for layer in profile["layers"]) == sum(macs(small).values())
    assert by_operator["soft"]["shape"] == "1x32x64x64"


def test_sums_agree(profile):
    layers = profile["layers"]
    assert sum(layer["us"] for layer in layers) == pytest.approx(profile["totals"]["layers_us"], rel=1e-3)
    assert sum(kind["us"] for kind in profile["types"]) == pytest.approx(profile["totals"]["layers_us"], rel=1e-3)
    off = abs(profile["totals"]["latency_us"] - profile["totals"]["layers_us"]) / profile["totals"]["latency_us"]
    assert off <= .0501 or "layers" in profile["totals"]["gap"], "within 5%, or the report says why"
    for layer in layers:
        if layer["macs"] and layer["us"] > 0:
            assert layer["gflops"] == pytest.approx(2 * layer["macs"] / layer["us"] / 1e3, rel=1e-2)
    assert profile["totals"]["transfers"]["in_place"] is True


def test_fusions_are_judged(profile):
    found = {(f["pattern"], f["where"]): f for f in profile["fusions"]}
    assert found["Conv+BatchNorm", "first + bn"]["fused"]
    assert found["Conv+Activation", "first + silu"]["fused"]
    assert found["Conv+Activation", "dw + relu"]["fused"]
    assert ("Conv+Add", "pw + sum") in found and ("Depthwise+Pointwise", "dw + pw") in found
    assert all(f["fused"] or f["why"] for f in found.values())


class Noise(CalibrationDataReader):
    def __init__(self):
        self.left = iter([{"images": np.random.default_rng(i).random((1, 3, 64, 64), np.float32)} for i in range(4)])

    def get_next(self):
        return next(self.left, None)


def test_quantised_islands(omma, small, tmp_path):
    """ONNX Runtime quantises; omma says which convolutions the engine then computes in int8."""
    model = tmp_path / "int8.onnx"
    quantize_static(small, model, Noise(), quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8)
    omma("profile", model, *QUICK, "--json", tmp_path / "p.json")
    done = json.loads((tmp_path / "p.json").read_text())
    islands = [f for f in done["fusions"] if f["pattern"] == "QDQ island"]
    assert len(islands) == 3
    convs = [layer for layer in done["layers"] if layer["macs"]]
    assert sum(layer["macs"] for layer in convs) == sum(macs(small).values())
    for layer in convs:
        own = [f for f in islands if any(f["where"].endswith(f"+ {op.split(' ')[0]}") for op in layer["operators"])]
        assert own and all(f["fused"] == (layer["precision"] == "int8") and ("why" in f) != f["fused"] for f in own)


def test_rows_and_page(profile, session_dir):
    with open(session_dir / "small.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["name"] for row in rows] == [layer["name"] for layer in profile["layers"]]
    page = (session_dir / "small.html").read_text()
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert page.count("<svg") >= 2 and "src=" not in page and "http" not in page, "needs no other file"
    assert all(layer["name"].replace("&", "&amp;") in page for layer in profile["layers"])
    assert all(op in page for layer in profile["layers"] for op in layer["operators"]), "what was fused is named"
    assert all(f"<h3>{found['cause']}: " in page for found in profile["findings"])


def test_the_machine_is_measured_once(profile, omma, small, tmp_path):
    peaks = profile["peaks"]
    assert peaks["f32_gflops"] > 1 and peaks["memory_gbs"] > .5 and peaks["cache_gbs"] > 1
    omma("profile", small, *QUICK, "--json", tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["peaks"] == {
        key: pytest.approx(v, abs=1e-3) if isinstance(v, float) else v for key, v in peaks.items()}


def test_compare_and_predict(omma, profile, session_dir, tmp_path):
    before = session_dir / "small.json"
    after = json.loads(before.read_text())
    first = next(layer for layer in after["layers"] if layer["macs"])
    first["us"] /= 2
    (tmp_path / "after.json").write_text(json.dumps(after))
    done = omma("profile", "--compare", before, tmp_path / "after.json", "--json", tmp_path / "c.json")
    assert "2.00x" in done.out
    changed = json.loads((tmp_path / "c.json").read_text())["layers"][0]
    assert changed["name"] == first["name"] and changed["after"] == pytest.approx(changed["before"] / 2, rel=1e-3)
    done = omma("profile", "--from", before, "--what-if", "batch=4", "--what-if", "precision=int8", "--json", tmp_path / "w.json")
    said = json.loads((tmp_path / "w.json").read_text())["what_if"]
    assert [w["change"] for w in said] == ["batch=4", "precision=int8"] and said[0]["images_s"] >= said[0]["images_s_now"] > 0 and said[0]["why"]
    bad = omma("profile", "--from", before, "--what-if", "batch=2", "--what-if", "precision=bf16", "--json", tmp_path / "w.json", code=None)
    if bad.code:  # a machine without bf16: what can be told is
        assert "bf16" in bad.err and "if batch=2" in bad.out and len(json.loads((tmp_path / "w.json").read_text())["what_if"]) == 1
    assert re.search(r"if batch=4: [\d.]+ a second", done.out) and "if precision=int8" in done.out


def test_int8_is_predicted_by_the_models_own_form(omma, small, tmp_path):
    """The form in int8 is measured once, kept in the profile, and leaves no file; what has none is told by the peaks."""
    there = tmp_path / "tmp"
    there.mkdir()
    model = tmp_path / "p.json"
    done = omma("profile", small, *QUICK, "--what-if", "precision=int8", "--json", model,
                env={**os.environ, "TMPDIR": str(there)})
    assert "a form of int8" in done.out and not list(there.iterdir())
    assert json.loads(model.read_text())["totals"]["int8_latency_us"] > 0
    assert "a form of int8" in omma("profile", "--from", model, "--what-if", "precision=int8").out
    omma("quantize", small, "--calib", PATTERN, "--frames", "16", "-o", tmp_path / "q.onnx")
    done = omma("profile", tmp_path / "q.onnx", *QUICK, "--what-if", "precision=int8", "--json", model)
    assert "by the machine's peaks alone" in done.err and "int8_latency_us" not in json.loads(model.read_text())["totals"]


def test_ladder_says_what_it_skips(omma, small, tmp_path):
    omma("profile", small, *QUICK, "--ladder", "fp32,int8", "--json", tmp_path / "l.json")
    f32, int8 = json.loads((tmp_path / "l.json").read_text())["ladder"]
    assert f32["latency_us"] > 0 and f32["cosine"] == pytest.approx(1)
    assert "no quantisation" in int8["skipped"]


@pytest.mark.parametrize("args,says", [
    ([], "expected a MODEL"), (["no.onnx"], "no.onnx"), ([SHAPES, "--device", "null"], "no timings of layers"),
    ([SHAPES, "--ladder", "f31"], "f31"), (["--from", SHAPES], "JSON"), (["--compare", "a.json"], "AFTER.json"),
    ([SHAPES, "--iterations", "1"], "iterations"), ([SHAPES, "--ncu"], "--device cuda:0"), ([SHAPES, "--nsys", "-d", "cpu"], "not cpu"),
    ([SHAPES, "--ncu", "--nsys", "-d", "cuda:0"], "one of them"), (["--from", SHAPES, "--ncu", "-d", "cuda:0"], "--from"),
    ([SHAPES, "--json", "-", "--csv", "-"], "only one of them"), ([SHAPES, "--json", "same", "--html", "same"], "would both write same"),
    (["--from", "a.json", "--compare", "b.json"], "--from and --compare: one of them"),
    ([SHAPES, "--ladder", "f32", "--pipeline", "c.yaml"], "--ladder and --pipeline: one of them"),
    ([SHAPES, "--ladder", "f32", "--csv", "x.csv"], "--csv does not go with --ladder"),
    ([SHAPES, "--ladder", "f32", "--precision", "bf16"], "--precision does not go with --ladder"),
    (["--compare", "a.json", "b.json", "--html", "x.html"], "--html does not go with --compare"),
    (["--compare", "a.json", "b.json", "--what-if", "batch=2"], "--what-if does not go with --compare"),
    (["--from", "a.json", "--batch", "4"], "--batch does not go with --from"),
    (["--pipeline", "c.yaml", "--device", "cpu"], "--device does not go with --pipeline"),
    ([SHAPES, "--int8-model", SHAPES], "--int8-model does not go with a model"),
    ([SHAPES, "--what-if", "batch"], "expected batch=16"), ([SHAPES, "--what-if", "batch=0"], "expected 1 to 1024"),
    ([SHAPES, "--what-if", "precision=f31"], "expected f32"), ([SHAPES, "--what-if", "dcode=2x"], "did you mean 'decode'"),
    ([SHAPES, "--what-if", "decode=0x"], "how many times faster"), ([SHAPES, "--what-if", "decode=2x"], "needs a run: --run"),
    ([SHAPES, "--ladder", "f32", "--int8-model", SHAPES], "int8 is not among --ladder f32"), (["--pipeline", SHAPES], "expected a configuration"),
    ([SHAPES, "--ladder", "f32,int8", "--int8-model", "none.onnx"], "--int8-model: none.onnx: cannot open"),
    ([SHAPES, "--run", SHAPES], "JSON"), ([SHAPES, "--what-if", "decode=nan"], "how many times faster"),
])
def test_bad_words(omma, args, says, tmp_path):
    """Said before anything is measured, and nothing is left."""
    done = omma("profile", *args, code=None, cwd=tmp_path, timeout=20)
    assert done.code in (1, 2) and says in done.err and "\n" not in done.err.strip()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["depthwise", *(pytest.param(name, marks=pytest.mark.long) for name in plants.MODELS
                                                if name != "depthwise")])
def test_planted_models_are_named(omma, name, tmp_path):
    make, right = plants.MODELS[name]
    omma("profile", make(tmp_path / "m.onnx", np.random.default_rng(7)), *QUICK, "--json", tmp_path / "m.json")
    found = json.loads((tmp_path / "m.json").read_text())["findings"]
    assert found[0]["cause"] in right and found[0]["evidence"] and found[0]["advice"]


@pytest.fixture(scope="module")
def run_profile(omma, session_dir):
    path = session_dir / "run.json"
    omma("run", "-m", SHAPES, "-i", PATTERN, "-i", PATTERN, "-o", "null:", "--profile", path, "--metrics-file",
         session_dir / "run.prom", "--trace", session_dir / "run-trace.json", "--report", session_dir / "run-report.json")
    return json.loads(path.read_text())["run"]


def test_stages_of_a_run(run_profile, session_dir):
    assert [s["stage"] for s in run_profile["stages"]] == ["source", "decode", "cores", "mailbox", "gather", "infer", "finish",
                                                           "head", "lane", "track", "secondary", "sink"]
    every = [s for s in run_profile["stages"][3:] if s["stage"] not in ("track", "secondary")]
    assert all(s["count"] == 120 and s["p50_ms"] <= s["p99_ms"] <= s["max_ms"] * 1.02 for s in every)
    assert all(sum(n for _, n in s["histogram"]) == s["count"] for s in run_profile["stages"] if s["count"])
    assert run_profile["frames"] == 120 and len(run_profile["streams"]) == 2
    assert sum(int(size) * n for size, n in run_profile["batch_sizes"].items()) == 120
    assert run_profile["copies"]["input_bytes"] > 0 and run_profile["threads"]
    assert json.loads((session_dir / "run-report.json").read_text())["profile"]["frames"] == 120


def test_metrics_are_prometheus_text(run_profile, session_dir):
    text = (session_dir / "run.prom").read_text()
    values = {}
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [-+.\deE]+', line), line
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
    inferred = [v for k, v in values.items() if k.startswith("omma_frames_inferred_total")]
    assert sum(inferred) == 120
    counts = [v for k, v in values.items() if k.startswith("omma_stage_seconds_count") and 'stage="infer"' in k]
    assert sum(counts) == 120
    for key in [k for k in values if "_bucket" in k and 'le="+Inf"' in k]:
        assert values[key] == values[re.sub(r',?le="\+Inf"', "", key).replace("_bucket", "_count")]


def test_arrows_follow_each_frame(run_profile, session_dir):
    events = json.loads((session_dir / "run-trace.json").read_text())["traceEvents"]
    starts = {e["id"]: e["ts"] for e in events if e["ph"] == "s"}
    ends = {e["id"]: e["ts"] for e in events if e["ph"] == "f"}
    assert len(starts) == 120 and set(starts) == set(ends)
    assert all(starts[i] < ends[i] for i in starts)
    steps = [e for e in events if e["ph"] == "t"]
    assert len(steps) >= 3 * 120
    spans = [(e["tid"], e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X"]
    for e in [*steps[:50], *(e for e in events if e["ph"] == "s")][:80]:
        assert any(tid == e["tid"] and begin <= e["ts"] <= end for tid, begin, end in spans), "an arrow stands in a span"
    assert sum(e["ph"] == "b" for e in events) == sum(e["ph"] == "e" for e in events) > 0
    tracks = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {f"om-s{i} {stream['name']}" for i, stream in enumerate(run_profile["streams"])} <= tracks, "a stream's track has its name"


def test_a_run_and_its_model_together(omma, run_profile, profile, session_dir, tmp_path):
    done = omma("profile", "--from", session_dir / "small.json", "--run", session_dir / "run.json", "--html", tmp_path / "both.html")
    assert "A frame's way" in done.out and "What was found" in done.out
    assert (tmp_path / "both.html").read_text().count("<svg") >= 10
    omma("profile", "--from", session_dir / "small.json", "--run", session_dir / "small.json", code=1)


def test_a_configuration_is_profiled(omma, tmp_path):
    """With every file that is asked for, the table beside them, and predictions; nothing else is left."""
    config, files = tmp_path / "c.yaml", [tmp_path / name for name in ("p.json", "p.csv", "p.html")]
    config.write_text(f"model: {SHAPES}\nstreams: ['{PATTERN}', '{PATTERN}']\nsinks: ['null:']\n")
    there = tmp_path / "tmp"
    there.mkdir()
    done = omma("profile", "--pipeline", config, "--json", files[0], "--csv", files[1], "--html", files[2], "--what-if", "infer=2x",
                env={**os.environ, "TMPDIR": str(there)})
    assert "A frame's way" in done.out and "What was found" in done.out and "if infer=2x" in done.out
    assert json.loads(files[0].read_text())["run"]["frames"] == 120 and "A frame" in files[2].read_text()
    assert not list(there.iterdir())
    done = omma("profile", "--pipeline", config, "--json", "-", env={**os.environ, "TMPDIR": str(there)})
    assert json.loads(done.out)["run"]["frames"] == 120
    config.write_text(f"model: {SHAPES}\nstreams: [none.mp4]\nsinks: ['null:']\n")
    omma("profile", "--pipeline", config, code=1, env={**os.environ, "TMPDIR": str(there)})
    assert not list(there.iterdir())


def test_each_stream_has_its_stages(omma, run_profile, session_dir, tmp_path):
    """Histograms of each in the JSON, rows in the CSV, drawings on the page, a table in the terminal at any width."""
    for stream in run_profile["streams"]:
        for stage in stream["stages"]:
            assert sum(n for _, n in stage.get("histogram", [])) == stage["count"]
    names = [stream["name"] for stream in run_profile["streams"]]
    files = tmp_path / "r.csv", tmp_path / "r.html"
    done = omma("profile", "--from", session_dir / "run.json", "--csv", files[0], "--html", files[1])
    table = done.out.split("By stream, mean ms\n")[1].splitlines()
    assert table[0].split() == ["stream", "frames", *(s["stage"] for s in run_profile["stages"])]
    assert [line.split()[0] for line in table[1:3]] == names
    with open(files[0], newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["stream"] for row in rows] == [name for name in ("", *names) for _ in run_profile["stages"]]
    for row, stage in zip(rows, run_profile["stages"]):
        assert row["stage"] == stage["stage"] and float(row["p99_ms"]) == pytest.approx(stage["p99_ms"], abs=1e-4)
    page = files[1].read_text()
    assert page.count("<details>") == 2 and all(f"<summary>{name}</summary>" in page for name in names)


def test_the_table_says_what_was_fused(omma, profile, session_dir):
    out = omma("profile", "--from", session_dir / "small.json", "--all").out
    line = next(line for line in out.splitlines() if re.match(r" *\d+  first ", line))
    assert {"Mul", "Sigmoid"} <= set(line.split("  ")[-1].split(" + ")), line


def test_two_runs_are_compared(omma, run_profile, session_dir, tmp_path):
    """Their rates, stages that only one has, and machines that differ; a run and a model have nothing in common."""
    after = json.loads((session_dir / "run.json").read_text())
    after["run"]["fps"] *= 2
    gone = after["run"]["stages"].pop(4)
    after["run"]["stages"].append({**gone, "stage": "later"})
    after["system"]["processor"] = "another one"
    (tmp_path / "after.json").write_text(json.dumps(after))
    done = omma("profile", "--compare", session_dir / "run.json", tmp_path / "after.json", "--json", tmp_path / "c.json")
    assert re.search(r"the run: [\d.]+ frames a second before, [\d.]+ frames a second after: 2.00 times", done.out)
    assert re.search(r"gather .* gone", done.out) and re.search(r"later .* new", done.out)
    assert "processor: " in done.out and "another one after" in done.out
    c = json.loads((tmp_path / "c.json").read_text())
    assert c["fps_after"] == pytest.approx(2 * c["fps_before"], rel=1e-3) and c["system_after"]["processor"] == "another one"
    assert {s["name"]: s["after"] for s in c["stages"]}["gather"] is None and len(c["stages"]) == len(run_profile["stages"]) + 1
    done = omma("profile", "--compare", session_dir / "small.json", session_dir / "run.json", code=2)
    assert "nothing to compare" in done.err


def test_every_report_says_where_it_was_made(omma, small, profile, run_profile, session_dir, tmp_path):
    keys = {"processor", "cores", "vector extensions", "caches", "memory", "power mode", "GPU", "FFmpeg", "command", "system", "omma"}
    done = omma("profile", small, *QUICK, "--ladder", "f32", "--json", tmp_path / "l.json")
    run = omma("run", "-m", SHAPES, "-i", PATTERN, "-o", "null:", "--profile", "-").out
    for text in (done.out, omma("profile", "--from", session_dir / "small.json").out, run):
        system = text.split("\nSystem\n")[1]
        assert all(f"  {key} " in system for key in keys if key != "GPU")
    ladder = json.loads((tmp_path / "l.json").read_text())
    for found in (profile["system"], ladder["system"], json.loads((session_dir / "run.json").read_text())["system"]):
        assert keys - {"GPU"} <= set(found), found
    assert profile["system"]["command"].endswith(f"--html {session_dir / 'small.html'}")
    page = (session_dir / "small.html").read_text()
    assert all(f"<td>{key}</td>" in page for key in keys if key != "GPU")


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_is_never_too_narrow(omma, profile, run_profile, session_dir, width):
    """In a terminal of that many columns no line of any table or text is longer."""
    import fcntl
    import pty
    import struct
    import termios

    for words in (["--from", session_dir / "small.json", "--run", session_dir / "run.json", "--what-if", "batch=4", "--what-if", "infer=2x"],
                  ["--compare", session_dir / "small.json", session_dir / "small.json"]):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        process = omma.start("profile", *words, stdout=theirs)
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 65536):
                text += piece
        except OSError:
            pass  # the other side is closed
        os.close(ours)
        assert process.wait(timeout=60) == 0
        process.stderr.close()
        lines = text.decode().replace("\r", "").splitlines()
        assert len(lines) > 10 and max(map(len, lines)) <= width, max(lines, key=len)


def test_ctrl_c_leaves_nothing(omma, yolov8n, tmp_path):
    """While the form in int8 is measured, whose file is in the folder for passing ones."""
    there = tmp_path / "tmp"
    there.mkdir()
    process = omma.start("profile", yolov8n, "--iterations", "3", "--what-if", "precision=int8", "--json", tmp_path / "p.json",
                         env={**os.environ, "TMPDIR": str(there)})
    try:
        wait_for(lambda: list(there.iterdir()), process, 200)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130 and "stopped" in err and not out
    assert not list(there.iterdir()) and not (tmp_path / "p.json").exists()


@pytest.mark.parametrize("delay,right", [("source:30", "source-bound"), ("decode:30", "decode-bound")])
def test_planted_delays_are_named(omma, delay, right, tmp_path, monkeypatch):
    monkeypatch.setenv("OMMA_TEST_DELAY", delay)
    omma("run", "-m", SHAPES, "-i", PATTERN, "--max-frames", "40", "-o", "null:", "--device", "null", "--profile", tmp_path / "p.json")
    causes = [f["cause"] for f in json.loads((tmp_path / "p.json").read_text())["findings"]]
    assert right in causes or causes[0] == "cpu-contended"


@pytest.mark.parametrize("size", [(1280, 2400), (420, 2400)])
def test_the_page_is_drawn(omma, profile, run_profile, session_dir, tmp_path, size):
    """A browser shows it without a complaint, and it is no wider than the window."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("no chromium")
    page, shot = tmp_path / "page.html", tmp_path / "shot.png"
    omma("profile", "--from", session_dir / "small.json", "--run", session_dir / "run.json", "--html", page)
    probe = "<script>document.title=document.documentElement.scrollWidth+'/'+innerWidth</script></body>"
    page.write_text(page.read_text().replace("</body>", probe))
    common = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path}/profile",
              f"--window-size={size[0]},{size[1]}"]
    done = subprocess.run([*common, "--enable-logging=stderr", f"--screenshot={shot}", f"file://{page}"], capture_output=True, text=True,
                          timeout=120)
    assert shot.stat().st_size > 20000
    assert "CONSOLE" not in done.stderr, done.stderr
    dom = subprocess.run([*common, "--dump-dom", f"file://{page}"], capture_output=True, text=True, timeout=120).stdout
    wide, window = re.search(r"<title>(\d+)/(\d+)</title>", dom).groups()
    assert int(wide) <= int(window), "only what scrolls by itself is wider than the window"


def counters(model, folder, iterations):
    """Layers' times by OpenVINO's own benchmark_app: name -> microseconds, means over its inferences."""
    subprocess.run([DEPS / "venv-bench/bin/benchmark_app", "-m", model, "-hint", "none", "-nstreams", "1", "-nireq", "1", "-api",
                    "sync", "-niter", str(iterations), "-infer_precision", "f32", "-report_type", "average_counters",
                    "-report_folder", folder], check=True, capture_output=True, timeout=300)
    with open(folder / "benchmark_average_counters_report.csv", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    return {row["layerName"]: 1e3 * float(row["realTime (ms)"]) for row in rows if row["execStatus"].endswith("EXECUTED")}


def layer_ratios(omma, model, folder):
    """Our layers' times over benchmark_app's, measured before and after ours: (total, median of the large, their own wobble)."""
    theirs = counters(model, folder, 40)
    omma("profile", model, "--iterations", "60", "--precision", "f32", "--json", folder / "p.json", timeout=300)
    again = counters(model, folder, 40)
    convs = [layer for layer in json.loads((folder / "p.json").read_text())["layers"] if layer["macs"] > 0]
    pairs = [(layer["us"], (theirs[key] + again[key]) / 2) for layer in convs
             for key in (layer["name"] + "/WithoutBiases", layer["name"]) if key in theirs and key in again][:len(convs)]
    assert len(pairs) >= .9 * len(convs), "their names are the same"
    large = sorted(a / b for a, b in pairs if b > 500)
    wobble = abs(sum(theirs.values()) - sum(again.values())) / sum(again.values())
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs), large[len(large) // 2], wobble


@pytest.mark.long
def test_layer_times_agree_with_benchmark_app(omma, yolov8n, tmp_path):
    """Within 5%, in one of five rounds: other work on the machine disturbs one side or the other."""
    rounds = []
    while len(rounds) < 5:
        total, large, wobble = layer_ratios(omma, yolov8n, tmp_path)
        if abs(total - 1) <= .05 and abs(large - 1) < .05:
            return
        rounds.append((total, large, wobble))
    if sum(wobble <= .03 for _, _, wobble in rounds) < 3:
        pytest.skip(f"the machine is too busy to compare: benchmark_app differs from itself by more than 3% in most rounds {rounds}")
    raise AssertionError(f"ours over theirs, total and median of the large layers, and their own wobble: {rounds}")


def comes_true(measure):
    """One of four rounds of (said, measured, the first measurement again over the first) holds within 15%."""
    rounds = []
    while len(rounds) < 4:
        said, measured, again = measure()
        if said == pytest.approx(measured, rel=.15):
            return
        rounds.append((said, measured, again))
    if sum(abs(again - 1) <= .07 for _, _, again in rounds) < 3:
        pytest.skip(f"the machine is too busy: the same measurement twice differs, {rounds}")
    raise AssertionError(f"said, measured, and the first measurement again over the first: {rounds}")


@pytest.mark.long
def test_predictions_come_true(omma, yolov8n, tmp_path):
    """Batches: within 15% of what is then measured."""
    dynamic = tmp_path / "dynamic.onnx"
    omma("model", "batch", yolov8n, "-o", dynamic)

    def rate(name, *options):
        omma("profile", dynamic, *options, "--json", tmp_path / name, timeout=300)
        return json.loads((tmp_path / name).read_text())["totals"]["images_s"]

    def measure():
        one = rate("one.json", "--iterations", "15")
        said = float(re.search(r"if batch=4: ([\d.]+)", omma("profile", "--from", tmp_path / "one.json", "--what-if", "batch=4").out)[1])
        four = rate("four.json", "--batch", "4", "--iterations", "9")
        return said, four, rate("again.json", "--iterations", "9") / one

    comes_true(measure)


@pytest.mark.long
@pytest.mark.parametrize("name", ["yolov8n", "mobilenet_v2"])
def test_int8_comes_true(omma, name, tmp_path):
    """The float model's prediction: within 15% of the model that `omma quantize` makes of pictures."""
    model, quantised = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    omma("model", "synth", name, "-o", model)
    omma("quantize", model, "--calib", DEPS / "media/bikes.mp4", "--frames", "16", "-o", quantised, timeout=300)

    def rate(path, *options):
        done = omma("profile", path, "--iterations", "9", "--json", tmp_path / "p.json", *options, timeout=300)
        return done, json.loads((tmp_path / "p.json").read_text())["totals"]

    def measure():
        done, totals = rate(model, "--what-if", "precision=int8")
        said = float(re.search(r"if precision=int8: ([\d.]+)", done.out)[1])
        assert said == pytest.approx(1e6 / totals["int8_latency_us"], rel=.05)
        once, twice = (rate(quantised)[1]["images_s"] for _ in range(2))
        return said, once, twice / once

    comes_true(measure)


@pytest.mark.long
@pytest.mark.parametrize("stage", ["source", "decode", "gather", "infer"])
def test_a_faster_stage_comes_true(omma, tmp_path, monkeypatch, stage):
    """A stage of twice the speed: within 15% of what is then measured."""
    def fps(ms, path):
        if stage != "infer":
            monkeypatch.setenv("OMMA_TEST_DELAY", f"{stage}:{ms}")
        omma("run", "-m", SHAPES, "-i", "pattern:320x240@25:frames=150", "-o", "null:", "--device",
             f"null:{1000 * ms}" if stage == "infer" else "null", "--profile", path)
        done = json.loads(path.read_text())
        if done["findings"][0]["cause"] == "cpu-contended":
            pytest.skip("other programs take the cores")
        return done["run"]["fps"]

    def measure():
        before = fps(20, tmp_path / "slow.json")
        done = omma("profile", "--from", tmp_path / "slow.json", "--what-if", f"{stage}=2x")
        said = float(re.search(rf"if {stage}=2x: ([\d.]+)", done.out)[1])
        after = fps(10, tmp_path / "fast.json")
        return said, after, fps(20, tmp_path / "again.json") / before

    comes_true(measure)


@pytest.mark.long
def test_planted_causes_are_named(capsys):
    """One of each kind; bench/planted.py --runs 200 is the full count. The confusion matrix is printed."""
    done = subprocess.run([DEPS / "venv/bin/python", ROOT / "bench/planted.py", "--runs", "16", "--seed", "3", "--share", "0.9"],
                          capture_output=True, text=True, timeout=400)
    with capsys.disabled():
        print(f"\n{done.stdout}")
    if done.returncode == 77:
        pytest.skip("other programs take the cores")
    assert done.returncode == 0, done.stdout + done.stderr
