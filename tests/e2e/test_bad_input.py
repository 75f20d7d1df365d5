"""Damaged videos, hostile models, wrong usage: one clear line, the right exit code, and the others go on."""
import json
import os
import random
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import ffmpeg, packets, records
from onnx import TensorProto, helper, numpy_helper
from test_run import books

SHAPES = Path(__file__).resolve().parents[1] / "data/shapes.onnx"
GOOD = "pattern:160x120:frames=25"
NULL = ["-d", "null"]


def complaints(result):
    """What was said to be wrong; warnings are not."""
    return [line for line in result.err.splitlines() if line.startswith(("omma: error:", "omma run:"))]


def one_line(result, *words):
    said = complaints(result)
    assert len(said) == 1, result
    for word in words:
        assert word.lower() in said[0].lower(), result
    return said[0]


def books(figures):
    assert figures["in_flight"] == 0
    assert figures["received"] == (figures["inferred"] + sum(figures["skipped"].values()) + sum(figures["dropped"].values()))


@pytest.fixture(scope="module")
def bad(tmp_path_factory, media):
    """A folder of files that are no videos."""
    d = tmp_path_factory.mktemp("bad")
    (d / "text.mp4").write_text("this is no video\n" * 50)
    (d / "zero.mp4").write_bytes(b"")
    (d / "random.avi").write_bytes(random.Random(1).randbytes(50000))
    (d / "empty").mkdir()
    (d / "notes").mkdir()
    (d / "notes/readme.txt").write_text("no picture")
    (d / "no_moov.mp4").write_bytes((media / "carphone_pristine.mp4").read_bytes()[:60000])
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", d / "audio.m4a")
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", d / "audio.wav")
    return d


FAILING = [("missing.mp4", "no such file"), ("text.mp4", "not a video"), ("zero.mp4", "empty file"), ("random.avi", "not a video"),
           ("empty", "no pictures"), ("notes", "no pictures"), ("no_moov.mp4", "not a video"), ("audio.m4a", "audio only"),
           ("audio.wav", "audio only")]


@pytest.mark.sanitize
@pytest.mark.parametrize("name,words", FAILING)
def test_no_video(omma, bad, name, words):
    one_line(omma("run", "-m", SHAPES, *NULL, "-i", bad / name, "-o", "null:", code=1), name, words)


@pytest.mark.sanitize
def test_bad_videos_beside_a_good_one(omma, bad, tmp_path):
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    args = [a for name, _ in FAILING for a in ("-i", bad / name)]
    r = omma("run", "-m", SHAPES, *NULL, *args, "-i", GOOD, "-o", f"jsonl:{out}", "--report", report, code=1)
    assert len(complaints(r)) == len(FAILING), r
    assert [x["seq"] for x in records(out)] == list(range(25))
    streams = json.loads(report.read_text())["streams"]
    assert [s["state"] for s in streams] == ["failed"] * len(FAILING) + ["ended"]
    for (name, words), s in zip(FAILING, streams):
        assert name in s["error"] and words in s["error"].lower()
    assert streams[-1]["inferred"] == 25


@pytest.mark.sanitize
def test_a_picture_under_a_videos_name_is_one_picture(omma, tmp_path):
    png = tmp_path / "x.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x48", "-frames:v", "1", "-f", "image2", "-c:v", "png", png)
    out = tmp_path / "r.jsonl"
    r = omma("run", "-m", SHAPES, *NULL, "-i", png, "-o", f"jsonl:{out}", code=None)
    assert (r.code, len(records(out))) in ((0, 1), (1, 0)), r
    if r.code:
        one_line(r, "x.mp4")


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["avi", "ts", "mkv"])
def test_truncated_video_gives_what_it_has(omma, media, tmp_path, kind):
    whole, cut = tmp_path / f"whole.{kind}", tmp_path / f"cut.{kind}"
    ffmpeg("-i", media / "carphone_pristine.mp4", "-c:v", "mpeg4" if kind == "avi" else "libx264", "-bf", "0", whole)
    cut.write_bytes(whole.read_bytes()[:whole.stat().st_size * 2 // 3])
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    omma("run", "-m", SHAPES, *NULL, "-i", cut, "-i", GOOD, "-o", f"jsonl:{out}", "--report", report)
    r = json.loads(report.read_text())
    got, total = r["streams"][0], packets(whole)
    books(got)
    books(r["totals"])
    assert total * 0.4 < got["inferred"] < total
    assert got["received"] == packets(cut)
    assert sum(x["stream"] == "cut" for x in records(out)) == got["inferred"]
    assert r["streams"][1]["inferred"] == 25


@pytest.mark.sanitize
@pytest.mark.parametrize("kind,seed", [("ts", 1), ("ts", 2), ("avi", 3), ("mp4", 4), ("mkv", 5)])
def test_flipped_bits(omma, media, tmp_path, kind, seed):
    """Whatever a decoder makes of garbage: the books add up and the stream beside is complete."""
    whole = tmp_path / f"whole.{kind}"
    ffmpeg("-i", media / "carphone_pristine.mp4", "-c:v", "mpeg4" if kind == "avi" else "libx264", whole)
    data, rng = bytearray(whole.read_bytes()), random.Random(seed)
    for _ in range(len(data) // 400):
        data[rng.randrange(2000, len(data))] ^= 1 << rng.randrange(8)
    flipped = tmp_path / f"flipped.{kind}"
    flipped.write_bytes(data)
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    r = omma("run", "-m", SHAPES, *NULL, "-i", flipped, "-i", GOOD, "-o", f"jsonl:{out}", "--report", report, code=None)
    assert len(complaints(r)) == r.code, r
    assert sum(line.startswith("omma: warning:") for line in r.err.splitlines()) <= 3, r
    rows, figures = records(out), json.loads(report.read_text())
    for stream in figures["streams"]:
        books(stream)
        assert sum(x["stream"] == stream["name"] for x in rows) == stream["inferred"]
    assert figures["streams"][1]["inferred"] == 25


@pytest.mark.sanitize
@pytest.mark.parametrize("size", [
    "1x1", *(pytest.param(s, marks=pytest.mark.long) for s in ("17x4001", "2x2", "3x3", "1x2000", "2000x1", "7680x4320"))])
def test_pictures_of_every_size(omma, tmp_path, size):
    """From a point to 8K: looked at, drawn, written; a video's sides are even."""
    clip, drawn, report = tmp_path / "c.avi", tmp_path / "drawn.mp4", tmp_path / "report.json"
    ffmpeg("-f", "lavfi", "-i", f"color=red:size={size}:rate=10,format=rgb24", "-frames:v", 3,
           "-c:v", "png" if size != "7680x4320" else "mjpeg", clip)
    omma("run", "-m", SHAPES, "-i", clip, "--track", "iou", "-o", f"video:{drawn}", "-o", f"jsonl:{tmp_path}/r.jsonl", "--report", report)
    books(json.loads(report.read_text())["totals"])
    rows, (width, height) = records(tmp_path / "r.jsonl"), map(int, size.split("x"))
    assert len(rows) == 3 and {(r["width"], r["height"]) for r in rows} == {(width, height)}
    for o in (o for r in rows for o in r["objects"]):
        x, y, w, h = o["box"]
        assert x >= -1 and y >= -1 and x + w <= width + 1 and y + h <= height + 1, o
    shown = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0", str(drawn)], check=True,
                           capture_output=True, text=True).stdout.strip()
    assert shown == f"{width + width % 2},{height + height % 2}" and packets(drawn) == 3


@pytest.mark.sanitize
@pytest.mark.parametrize("kind, args", [
    ("nut", ["-output_ts_offset", "-3"]),
    *(pytest.param(*p, marks=pytest.mark.long) for p in [("ts", ["-output_ts_offset", "95440"]),  # just before 33 bits are full
                                                         ("mkv", ["-output_ts_offset", "-3"]), ("avi", ["-r", "1000"]), ("h264", []),
                                                         ("mkv", ["-vf", "setpts=N*1000/TB"])])])
def test_times_that_are_odd(omma, tmp_path, kind, args):
    """Below zero, about to wrap, a rate that is absurd or none: times rise from the first picture on, as a file and as a camera."""
    clip, report = tmp_path / f"c.{kind}", tmp_path / "report.json"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", "-frames:v", 20, "-c:v", "libx264", "-bf", 2, "-fps_mode", "passthrough", *args, clip)
    n = packets(clip)
    for live in ([], ["--live", "--duration", "3s"]):
        r = omma("run", "-m", SHAPES, "-d", "null", "-i", clip, "-o", f"jsonl:{tmp_path}/r.jsonl", "--report", report, *live)
        rows = records(tmp_path / "r.jsonl")
        books(json.loads(report.read_text())["totals"])
        pts = [row["pts"] for row in rows]
        assert pts == sorted(set(pts)) and pts[0] >= 0 and r.seconds < 30, (live, pts)
        assert live or len(rows) == n, (n, rows)


@pytest.mark.sanitize
@pytest.mark.parametrize("uri", ["rtsp://user:geheim@127.0.0.1:1/cam", "http://user:geheim@127.0.0.1:1/a.mp4?token=geheim",
                                 "rtsp://user:ge/geheim@127.0.0.1:1/cam", "nope://user:geheim@host/x"])
def test_passwords_are_never_shown(omma, tmp_path, uri):
    report, out = tmp_path / "report.json", tmp_path / "r.jsonl"
    r = omma("run", "-m", SHAPES, *NULL, "-i", uri, "-i", GOOD, "--log-level", "debug", "--report", report, "-o", f"jsonl:{out}",
             "--stats", "1", "--no-reconnect", code=1)
    assert "geheim" not in r.out + r.err + report.read_text() + out.read_text(), r
    checked = omma("run", "-m", SHAPES, "-i", uri, "--check", code=None)
    assert "geheim" not in checked.out + checked.err


# Models


def model_of(nodes, inputs, outputs, initializers=(), opsets=(("", 17),)):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in opsets], ir_version=8)


def picture(shape=("n", 3, 64, 64), name="images"):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def value(name="out", shape=None):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def refused(omma, model, tmp_path, *words, code=1, flags=()):
    path = tmp_path / "hostile.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    for device in ("null", "cpu"):
        r = omma("run", "-m", path, "-d", device, "-i", GOOD, "-o", "null:", *flags, code=code, timeout=60)
        said = one_line(r, *words)
    omma("model", "inspect", path, code=None, timeout=60)
    return said


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def message(field, body):
    return varint(field << 3 | 2) + varint(len(body)) + body


@pytest.mark.sanitize
@pytest.mark.parametrize("content,words", [
    (b"", "empty"), (b"this is text, not a model\n" * 9, "not a valid onnx"), (bytes(500), "not a valid onnx"),
    (b"\xff" * 500, "not a valid onnx"), (random.Random(3).randbytes(5000), "onnx")])
def test_no_model(omma, tmp_path, content, words):
    refused(omma, content, tmp_path, "hostile.onnx", words)


@pytest.mark.sanitize
def test_models_that_are_not_there(omma, tmp_path):
    one_line(omma("run", "-m", tmp_path / "none.onnx", "-i", GOOD, code=1), "none.onnx", "no such file")
    one_line(omma("run", "-m", tmp_path, "-i", GOOD, code=1), "is a directory")


@pytest.mark.sanitize
@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_truncated_model(omma, tmp_path, part):
    data = SHAPES.read_bytes()
    refused(omma, data[:int(len(data) * part)], tmp_path, "hostile.onnx")


@pytest.mark.sanitize
def test_flipped_models(omma, tmp_path):
    """Any answer but a crash, a hang or two lines."""
    data, rng = SHAPES.read_bytes(), random.Random(7)
    for i in range(12):
        bad = bytearray(data)
        for _ in range(1 + i % 4):
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path = tmp_path / "hostile.onnx"
        path.write_bytes(bad)
        r = omma("run", "-m", path, *NULL, "-i", GOOD, "-o", "null:", code=None, timeout=60)
        assert len(complaints(r)) == (r.code != 0), r


@pytest.mark.sanitize
def test_nested_graphs(omma, tmp_path):
    """20,000 graphs inside each other: an attribute's graph (g = 6) in a node (attribute = 5) in a graph (node = 1)."""
    body = b""
    for _ in range(20000):
        body = message(1, message(5, message(6, body)))
    refused(omma, message(7, body), tmp_path, "nest")


@pytest.mark.sanitize
def test_huge_dims(omma, tmp_path):
    big = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 31, 1 << 31, 1 << 31])
    refused(omma, model_of([helper.make_node("Add", ["images", "w"], ["out"])], [picture()], [value()], [big]), tmp_path, "w")
    minus = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-5])
    refused(omma, model_of([helper.make_node("Add", ["images", "w"], ["out"])], [picture()], [value()], [minus]), tmp_path, "w")
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1000], raw_data=b"1234")
    refused(omma, model_of([helper.make_node("Add", ["images", "w"], ["out"])], [picture()], [value()], [short]), tmp_path, "w")


@pytest.mark.sanitize
def test_broken_graphs(omma, tmp_path):
    cycle = [helper.make_node("Relu", ["b"], ["a"], "ring_a"), helper.make_node("Relu", ["a"], ["b"], "ring_b"),
             helper.make_node("Add", ["images", "b"], ["out"])]
    refused(omma, model_of(cycle, [picture()], [value()]), tmp_path, "ring_")
    dangling = [helper.make_node("Add", ["images", "nowhere"], ["out"], "adder")]
    refused(omma, model_of(dangling, [picture()], [value()]), tmp_path, "nowhere")
    twice = [helper.make_node("Relu", ["images"], ["out"]), helper.make_node("Neg", ["images"], ["out"])]
    refused(omma, model_of(twice, [picture()], [value()]), tmp_path, "out")
    refused(omma, model_of([helper.make_node("Relu", ["images"], ["x"])], [picture()], [value()]), tmp_path, "out")
    refused(omma, model_of([helper.make_node("Relu", [], ["out"], "bare")], [picture()], [value()]), tmp_path, code=None)


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_a_quotient_that_no_integer_holds(omma, tmp_path, kind):
    """The engine folds it with the processor's own division, which ends the process."""
    least = numpy_helper.from_array(np.array([np.iinfo(kind).min], kind), "least")
    nodes = [helper.make_node("Div", ["least", "minus"], ["c"], "divides"), helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
             helper.make_node("Mul", ["images", "f"], ["out"])]
    model = model_of(nodes, [picture()], [value()], [least, numpy_helper.from_array(np.array([-1], kind), "minus")])
    refused(omma, model, tmp_path, "divides", f"{np.iinfo(kind).min} / -1")


@pytest.mark.sanitize
@pytest.mark.parametrize("op", ["Div", "Mod"])
@pytest.mark.parametrize("known", [True, False])
def test_a_division_of_integers_by_zero(omma, tmp_path, op, known):
    """Said by the node's name, whether what is divided is known or not, and not in some engine's own words."""
    nodes = [helper.make_node("Cast", ["images"], ["i"], to=TensorProto.INT64),
             helper.make_node(op, ["five" if known else "i", "zero"], ["c"], "divides"), helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
             helper.make_node("Mul", ["images", "f"], ["out"])]
    numbers = [numpy_helper.from_array(np.array([n], np.int64), name) for n, name in ((5, "five"), (0, "zero"))]
    refused(omma, model_of(nodes, [picture()], [value()], numbers), tmp_path, "divides", "by 0")


@pytest.mark.sanitize
@pytest.mark.parametrize("place", ["../secret.bin", "/etc/passwd", "sub/../../secret.bin", "link.bin"])
def test_external_data_stays_in_its_folder(omma, tmp_path, place):
    (tmp_path / "secret.bin").write_bytes(bytes(4000))
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    w = numpy_helper.from_array(np.zeros((1, 3, 1, 1), np.float32), "w")
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    for k, v in (("location", place), ("offset", "0"), ("length", "12")):
        entry = w.external_data.add()
        entry.key, entry.value = k, v
    model = model_of([helper.make_node("Add", ["images", "w"], ["out"])], [picture()], [value()], [w])
    refused(omma, model, folder, place.split("/")[-1])


@pytest.mark.sanitize
def test_unknown_operator(omma, tmp_path):
    """It passes inspection by name and is refused by node where it would have to run."""
    good = onnx.load(SHAPES)
    good.opset_import.append(helper.make_opsetid("org.example", 1))
    name = good.graph.node[0].input[0]
    for node in good.graph.node:
        for i, x in enumerate(node.input):
            if x == name:
                node.input[i] = "frobbed"
    good.graph.node.insert(0, helper.make_node("Frobnicate", [name], ["frobbed"], "frob_1", domain="org.example"))
    path = tmp_path / "hostile.onnx"
    onnx.save(good, path)
    one_line(omma("run", "-m", path, "-d", "cpu", "-i", GOOD, "-o", "null:", code=1), "Frobnicate")


@pytest.mark.sanitize
def test_labels_that_do_not_fit(omma, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\n")
    r = omma("run", "-m", SHAPES, *NULL, "--labels", names, "-i", GOOD, "-o", "null:", code=None)
    one_line(r, "names.txt", "2", "3")
    one_line(omma("run", "-m", SHAPES, *NULL, "--labels", tmp_path / "none.txt", "-i", GOOD, "-o", "null:", code=None), "none.txt")
    one_line(omma("run", "-m", SHAPES, *NULL, "--classes", "gren", "-i", GOOD, "-o", "null:", code=2), "gren", "green")


@pytest.mark.sanitize
def test_unknown_family_is_told_with_its_shapes(omma, tmp_path):
    model = model_of([helper.make_node("Relu", ["images"], ["out"])], [picture()], [value(shape=("n", 3, 64, 64))])
    said = refused(omma, model, tmp_path, "64", "yolov8", code=None)
    assert "--head" in said


@pytest.mark.sanitize
def test_two_inputs(omma, tmp_path):
    model = model_of([helper.make_node("Add", ["images", "more"], ["out"])], [picture(), picture(name="more")],
                     [value(shape=("n", 3, 64, 64))])
    refused(omma, model, tmp_path, "input", code=None)


@pytest.mark.sanitize
def test_sizes_that_the_model_has_not(omma, tmp_path):
    fixed = tmp_path / "fixed.onnx"
    model = onnx.load(SHAPES)
    for value_info in [*model.graph.input, *model.graph.output]:
        dims = value_info.type.tensor_type.shape.dim
        for dim, size in zip(dims, (2, 3, 64, 64) if len(dims) == 4 else (2, 7, 3)):
            dim.Clear()
            dim.dim_value = size
    onnx.save(model, fixed)
    for flags, words in ((["--batch-size", 3], ("batch", "3")), (["--input-size", "96x96"], ("96", "64")),
                         (["--input-size", "65x64"], ("65",))):
        one_line(omma("run", "-m", fixed, *NULL, *flags, "-i", GOOD, "-o", "null:", code=2), *words)
    one_line(omma("run", "-m", SHAPES, *NULL, "--input-size", "641x480", "-i", GOOD, "-o", "null:", code=2), "641", "32")
    omma("run", "-m", fixed, *NULL, "-i", GOOD, "-o", "null:")


# Usage


def usage(*flags):
    return ["run", "-m", SHAPES, *NULL, "-i", GOOD, *flags]


@pytest.mark.sanitize
@pytest.mark.parametrize("flags,words", [
    (["--confg", 1], ["--confg", "--conf"]),
    (["--conf", "abc"], ["conf", "abc", "number"]),
    (["--conf", "3"], ["conf", "3"]),
    (["--conf", "nan"], ["conf", "nan"]),
    (["--batch-size", "2.5"], ["batch-size", "2.5", "whole"]),
    (["--max-boxes", "-4"], ["max-boxes", "-4"]),
    (["--max-frames", "99999999999999999999"], ["max-frames"]),
    (["--precision", "fp12"], ["precision", "fp12"]),
    (["--device", "nulll"], ["nulll", "null"]),
    (["--log-level", "loud"], ["loud", "debug"]),
    (["--cpu-mask", "mmx"], ["mmx", "avx2"]),
    (["--input-size", "64by64"], ["input-size", "64by64"]),
    (["--duration", "long"], ["duration", "long"]),
    (["--rtsp-transport", "pigeon"], ["pigeon", "tcp"]),
    (["--head", "yolov88"], ["yolov88", "yolov8"]),
    (["--conf"], ["conf"]),
    (["--batch-min", "3"], ["batch-timeout-ms"]),
    (["--batch-size", "2", "--batch-max", "4"], ["batch-size", "batch-max"]),
    (["--batch-min", "8", "--batch-timeout-ms", "5", "--batch-size", "4"], ["batch-min"]),
    (["-i", GOOD, "-o", "video:x.mp4"], ["video:x.mp4", "%s"]),
    (["-o", "jsnol:x"], ["jsnol", "jsonl"]),
    (["-o", "carrier-pigeon:x"], ["jsonl, csv, video, null"]),
    (["-o", ""], ["output"]),
    (["-o", "jsonl:"], ["name"]),
    (["-o", "jsonl:a", "-o", "csv:a"], ["jsonl:a", "csv:a"]),
    (["-o", "jsonl:a", "-o", "jsonl:./a"], ["same file"]),
    (["-o", "jsonl:-", "-o", "csv:-"], ["same file"]),
    (["-i", ""], ["input"]),
    (["nowhere.yaml"], ["nowhere.yaml"]),
])
def test_usage(omma, tmp_path, flags, words):
    said = one_line(omma(*usage(*flags), code=2, cwd=tmp_path), *words)
    assert len(said) < 300
    assert not list(tmp_path.iterdir())


@pytest.mark.sanitize
@pytest.mark.parametrize("text,words", [
    ("", ["empty"]),
    ("# nothing\n", ["empty"]),
    ("just words\n", [":1", "map"]),
    ("- a\n- b\n", ["map"]),
    ("model: m.onnx\nstreams: [a\nconf: 1\n", [":3"]),
    ("model: m.onnx\n\tconf: 1\n", [":2"]),
    ("model: m.onnx\nmodell: x\n", [":2", "modell", "'model'"]),
    ("model: m.onnx\nconf: much\n", [":2", "conf", "much"]),
    ("model: m.onnx\nconf: [1, 2]\n", [":2", "conf", "single"]),
    ("model: m.onnx\nconf: {a: 1}\n", [":2", "conf", "single"]),
    ("model: m.onnx\nstreams: 7\n", [":2", "list"]),
    ("model: m.onnx\nstreams:\n  uri: a\n", [":3", "list"]),
    ("model: m.onnx\nstreams:\n  - uri: a\n    prority: 1\n", [":4", "prority", "priority"]),
    ("model: m.onnx\nstreams:\n  - name: a\n", [":3", "uri"]),
    ("model: m.onnx\nstreams:\n  - {uri: a, name: q}\n  - {uri: b, name: q}\n", [":4", "'q'"]),
    ("model: m.onnx\nstreams:\n  - {uri: a, name: ../q}\n", [":3", "../q"]),
    ("model: m.onnx\nstreams: [a]\nsinks: [jsonl:x, csv:x]\n", ["same file"]),
    ("model: m.onnx\nstreams: [a]\nsinks: [{a: b}]\n", [":3", "single"]),
    ("? [a, b]\n: c\n", [":1", "key"]),
    ("streams: [a]\n", ["model"]),
    ("model: m.onnx\n", ["stream"]),
    ("model: \"m\\0x\"\nstreams: [a]\n", [""]),
    ("\x00\x01\x02", [""]),
    ("a: &a [*a]\n", [""]),
])
def test_config(omma, tmp_path, text, words):
    config = tmp_path / "c.yaml"
    config.write_bytes(text.encode("latin-1"))
    said = one_line(omma("run", config, code=2 if words != [""] else None, cwd=tmp_path), *words)
    assert len(said) < 300


@pytest.mark.sanitize
@pytest.mark.parametrize("flags", [
    "build {model} -o", "quantize {model} -c {none} -o", "quantize {model} -c {none} -o {good} --report",
    "quantize {model} -c {none} -o {good} --html", "eval -m {model} -r {model} -i {none} --json",
    "eval -m {model} -t {none} --save-detections", "detect -m {model} {none} --json", "train {none} -m {model} -o",
    "train {none} -m {model} -o {good} --checkpoint", "train {none} -m {model} -o {good} --cache",
    "train {none} -m {model} -o {good} --report", "profile {model} --json", "profile {model} --csv", "profile {model} --html",
    "profile {model} --ladder f32 --json", "profile --compare {none} {none} --json", "profile --from {none} --html",
    "profile --pipeline {none}.yaml --csv", "bench -m {model} -i {none} --json", "faces search {none} {none} -m {model} --json"])
def test_outputs_are_looked_at_before_the_work(omma, tmp_path, flags):
    """What is read is not there either, and that would be said later."""
    words = flags.format(model=tmp_path / "none.onnx", none=tmp_path / "none", good=tmp_path / "good").split()
    for path, why in ((tmp_path / "no/folder", "No such file or directory"), (tmp_path, "is a directory")):
        done = omma(*words, path, code=1)
        assert len(done.err.splitlines()) == 1 and f"{path}: cannot write: {why}" in done.err, done
    old = tmp_path / "old"
    old.write_text("precious")
    done = omma(*words, old, code=None)
    assert done.code and "cannot write" not in done.err
    assert old.read_text() == "precious" and sorted(p.name for p in tmp_path.iterdir()) == ["old"]


@pytest.mark.sanitize
def test_devices_without_an_end(omma, tmp_path):
    """Refused at once, not when the memory is full."""
    for words in (["model", "inspect", "/dev/zero"], ["model", "check", "/dev/urandom"], ["model", "diff", SHAPES, "/dev/full"],
                  ["run", "-m", SHAPES, *NULL, GOOD, "--labels", "/dev/zero"], ["run", "-m", SHAPES, *NULL, "--config-file", "/dev/zero"],
                  ["eval", "--detections", "/dev/zero", "--truth", "/dev/zero"]):
        done = omma(*words, code=None)
        assert done.code in (1, 2) and len(done.err.splitlines()) == 1 and "without an end; expected a file" in done.err, done
    assert "the file is empty" in omma("model", "inspect", "/dev/null", code=1).err


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["jsonl", "csv", "video"])
def test_outputs_that_cannot_be_written(omma, tmp_path, kind):
    file = tmp_path / "file"
    file.write_text("x")
    for target, words in ((tmp_path / "none/x.mp4", "no such file"), (file / "x.mp4", "not a directory"),
                          ("/proc/omma.mp4", "/proc/omma.mp4"), (tmp_path, "is a directory")):
        one_line(omma(*usage("-o", f"{kind}:{target}"), code=1), str(target), words)
    assert file.read_text() == "x"


@pytest.mark.sanitize
def test_files_beside_the_sinks_are_tried_before_the_run(omma, tmp_path):
    """A camera that never ends: what says so does not wait for its end. Nothing is left behind."""
    file, sink = tmp_path / "file", tmp_path / "out.jsonl"
    file.write_text("x")
    endless = ("run", "-m", SHAPES, "-d", "null", "-i", "pattern:64x48@25:frames=0", "--live", "-o", f"jsonl:{sink}")
    for flag in ("--report", "--trace", "--metrics-file", "--profile"):
        for target, words in ((tmp_path / "none/r.json", "No such file"), (file / "r.json", "Not a directory"),
                              (tmp_path, "is a directory"), ("/proc/r.json", "No such file"), (tmp_path / ("a" * 300), "File name too long")):
            one_line(omma(*endless, flag, target, code=1, timeout=30), flag, str(target), words)
    for a, b in (("--trace", "--report"), ("--profile", "--metrics-file")):
        one_line(omma(*endless, a, tmp_path / "same", b, tmp_path / "same", code=2, timeout=30), a, b, "would both write")
    (tmp_path / "link").symlink_to(file)
    one_line(omma(*endless, "--trace", file, "--report", tmp_path / "link", code=2, timeout=30), "would both write")
    os.mkfifo(tmp_path / "pipe")
    one_line(omma(*endless, "--metrics-file", tmp_path / "pipe", code=2, timeout=30), "--metrics-file", "is a pipe")
    (tmp_path / "pipe").unlink()
    assert file.read_text() == "x" and not sink.exists() and sorted(p.name for p in tmp_path.iterdir()) == ["file", "link"]
    done = omma("worker", "-m", SHAPES, "-i", "pattern:64x48:frames=9", "-d", "null", "-o", tmp_path, "--trace", "/proc/t.json", code=1)
    assert done.err.count("\n") == 1 and "--trace: /proc/t.json" in done.err


@pytest.mark.sanitize
@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 600, 50))
def test_memory_runs_out_everywhere(omma, tmp_path, first):
    """The n-th allocation fails: the run says so and ends, or did not need it."""
    run_out(omma, tmp_path, range(first, first + 50))


@pytest.mark.sanitize
def test_memory_runs_out(omma, tmp_path):
    run_out(omma, tmp_path, list(range(0, 200, 23)) + list(range(200, 4000, 331)))


def run_out(omma, tmp_path, numbers):
    for n in numbers:
        out = tmp_path / "r.jsonl"
        out.unlink(missing_ok=True)
        r = omma("run", "-m", SHAPES, *NULL, "-i", "pattern:64x48:frames=8", "-i", "pattern:64x48:frames=8", "-o", f"jsonl:{out}", "-o",
                 "null:", "--report", tmp_path / "report.json", code=None, timeout=20, env={**os.environ, "OMMA_FAIL_ALLOC": str(n)})
        assert r.code in (0, 1), (n, r)
        if r.code:
            assert "memory" in r.err, (n, r)
        if out.exists():
            records(out)
