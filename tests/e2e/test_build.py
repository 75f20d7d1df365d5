"""`omma build`: plans say what the model says, start without compiling, and are refused or rebuilt where they do not fit."""
import json
import os
import struct

import cv2
import onnx
import pytest
from conftest import BUILD, ROOT

DATA = ROOT / "tests/data"
SIZE = ["--input-size", "320x320"]
FEW = ["--frames", "16", "--min-frames", "4"]


def checksum(file):
    """The format's, as src/backend/planfile.h has it."""
    mask, data = (1 << 64) - 1, bytes(file[32:])
    seed = int.from_bytes(file[8:16], "little")
    h = seed ^ 0xcbf29ce484222325 ^ len(data)
    whole = len(data) // 8 * 8
    for (word,) in struct.iter_unpack("<Q", data[:whole]):
        h = ((h ^ word) * 0x9e3779b97f4a7c15) & mask
        h ^= h >> 29
    if len(data) > whole:
        h = ((h ^ int.from_bytes(data[whole:], "little")) * 0x9e3779b97f4a7c15) & mask
    return h ^ h >> 32


def head(data):
    magic, version, room, size, total = struct.unpack("<8sIIQQ", data[:32])
    return magic, version, room, size, total


def changed(plan, out, **values):
    """A sound plan whose description says something else."""
    data = plan.read_bytes()
    _, _, room, _, _ = head(data)
    text = json.loads(data[32:32 + room])
    text.update(values)
    text = json.dumps(text, separators=(",", ":")).encode()
    assert len(text) <= room
    return sealed(out, data, text.ljust(room))


def sealed(out, data, text):
    _, _, room, _, _ = head(data)
    data = bytearray(data)
    data[32:32 + room] = text
    data[24:32] = struct.pack("<Q", checksum(data))
    out.write_bytes(data)
    return out


@pytest.fixture(scope="module")
def pictures(media, tmp_path_factory):
    at = tmp_path_factory.mktemp("pictures")
    video = cv2.VideoCapture(str(media / "vtest.avi"))
    for k in range(24):
        ok, frame = video.read()
        assert ok
        cv2.imwrite(str(at / f"{k:02d}.png"), frame)
    return at


@pytest.fixture(scope="module")
def plan(omma, yolov3_tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("plan") / "tiny.plan"
    omma("build", yolov3_tiny, "-o", out, "--device", "cpu", "--precision", "f32", *SIZE, "--max-batch", "2")
    return out


@pytest.fixture(scope="module")
def small(omma, tmp_path_factory):
    """A classifier of three nodes: of free size and batch, of fixed ones, and as a plan."""
    at = tmp_path_factory.mktemp("small")
    model = onnx.load(str(DATA / "classify.onnx"))
    onnx.save(model, str(at / "free.onnx"))
    for dim, n in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, 64, 64)):
        dim.dim_value = n
    onnx.save(model, str(at / "fixed.onnx"))
    omma("build", at / "free.onnx", "-o", at / "small.plan", "--device", "cpu", "--precision", "f32")
    return at


def objects(omma, tmp_path, *args):
    run = omma("detect", *args, "--json", tmp_path / "found.json", "--log-level", "info")
    found = json.loads((tmp_path / "found.json").read_text())
    return [p["objects"] for p in found["images"]], found, run


def test_a_plan_says_what_its_model_says(omma, tmp_path, yolov3_tiny, plan, pictures):
    few = sorted(pictures.iterdir())[:3]
    want, _, _ = objects(omma, tmp_path, "-m", yolov3_tiny, *few, *SIZE, "--precision", "f32")
    got, found, run = objects(omma, tmp_path, "--engine", plan, *sum((["--image", p] for p in few), []))
    assert got == want and sum(map(len, got)) > 3
    assert "what was compiled for 320x320, batch 1 is taken" in run.err
    steps = found["timings_ms"]["infer"]
    assert steps["min"] <= steps["median"] <= steps["p95"] <= steps["p99"] and steps["mean"] > 0
    assert found["pictures_per_second"] > 0
    assert "mean" in run.out and "p99" in run.out and "a second" in run.out
    got, _, run = objects(omma, tmp_path, "--engine", plan, "--batch", "2", *few, "-o", tmp_path / "drawn")
    assert got == want and "batch 2 is taken" in run.err
    assert len(list((tmp_path / "drawn").iterdir())) == 3


@pytest.mark.long
def test_other_commands_take_plans(omma, tmp_path, yolov3_tiny, plan, small, media):
    video = media / "carphone_pristine.mp4"
    omma("run", "-m", plan, video, "--max-frames", "4", "-o", f"jsonl:{tmp_path / 'a.jsonl'}")
    omma("run", "-m", yolov3_tiny, video, "--max-frames", "4", *SIZE, "--precision", "f32", "-o", f"jsonl:{tmp_path / 'b.jsonl'}")
    a, b = ([r["objects"] for r in map(json.loads, (tmp_path / n).read_text().splitlines())] for n in ("a.jsonl", "b.jsonl"))
    assert a == b and len(a) == 4
    got = json.loads(omma("eval", "-m", small / "small.plan", "-r", small / "free.onnx", "-i", media / "carphone_pristine.mp4",
                          "-n", "4", "--json", "-").out)
    assert got["top1"] == 1 and got["pictures"] == 4
    table = omma("profile", small / "small.plan", "-n", "6").out
    assert "FullyConnected" in table or "Gemm" in table or "MatMul" in table
    assert "10: red, green" in omma("model", "inspect", small / "small.plan").out


def test_inspect(omma, plan, small):
    got = json.loads(omma("build", plan, "--inspect", "--json", "-").out)
    assert (got["format"], got["device"], got["precision"], got["backend"]) == (1, "cpu", "f32", "openvino")
    assert (got["min_batch"], got["opt_batch"], got["max_batch"], got["family"]) == (1, 1, 2, "yolov3")
    assert [(c["width"], c["height"], c["batch"]) for c in got["compiled"]] == [(320, 320, 1), (320, 320, 2)]
    assert got["fits"] and got["misfit"] is None and got["made_of"] == "yolov3-tiny.onnx"
    assert got["bytes"] == plan.stat().st_size > got["model_bytes"] + sum(c["bytes"] for c in got["compiled"])
    text = omma("build", plan, "--inspect").out
    assert "here       fits" in text and "320x320, batch 2" in text
    data = (small / "small.plan").read_bytes()
    magic, version, room, size, total = head(data)
    assert (magic, version, size) == (b"OMMAPLAN", 1, len(data)) and total == checksum(data)


@pytest.mark.parametrize("values,words", [
    ({"machine": "Other CPU"}, ["was built for Other CPU, this is"]),
    ({"engine": "2020.1.0"}, ["openvino 2020.1.0, this is"]),
    ({"omma": "0.0.1"}, ["by omma 0.0.1"]),
])
def test_elsewhere_the_model_inside_is_compiled_anew(omma, tmp_path, small, pictures, values, words):
    picture = sorted(pictures.iterdir())[0]
    other = changed(small / "small.plan", tmp_path / "other.plan", **values)
    want, _, _ = objects(omma, tmp_path, "-m", small / "small.plan", picture)
    got, _, run = objects(omma, tmp_path, "-m", other, picture)
    said = [line for line in run.err.splitlines() if "warning" in line]
    assert got == want and len(said) == 1 and all(w in said[0] for w in words + ["compiled anew", "--rebuild"])
    assert not json.loads(omma("build", other, "--inspect", "--json", "-").out)["fits"]
    omma("build", other, "--rebuild")
    again = json.loads(omma("build", other, "--inspect", "--json", "-").out)
    assert again["fits"] and again["precision"] == "f32" and again["device"] == "cpu" and again["made_of"] == "free.onnx"
    assert "warning" not in objects(omma, tmp_path, "-m", other, picture)[2].err


def test_a_refused_compiled_form(omma, tmp_path, small, pictures):
    """What the engine itself does not take: the model inside, and a warning."""
    data = bytearray((small / "small.plan").read_bytes())
    _, _, room, _, _ = head(data)
    text = json.loads(data[32:32 + room])
    at, n = text["compiled"][0]["offset"], text["compiled"][0]["length"]
    data[at:at + n] = b"x" * n
    bad = sealed(tmp_path / "bad.plan", bytes(data), bytes(data[32:32 + room]))
    want, _, _ = objects(omma, tmp_path, "-m", small / "small.plan", sorted(pictures.iterdir())[0])
    got, _, run = objects(omma, tmp_path, "-m", bad, sorted(pictures.iterdir())[0])
    assert got == want and "compiled form that is refused" in run.err


def test_other_wishes_than_the_plans(omma, tmp_path, small, pictures):
    picture = sorted(pictures.iterdir())[0]
    _, _, run = objects(omma, tmp_path, "-m", small / "small.plan", picture, "--batch", "3")
    assert "holds nothing for 64x64 and batch 3" in run.err
    _, _, run = objects(omma, tmp_path, "-m", small / "small.plan", picture, "--precision", "bf16")
    assert "another precision" in run.err
    _, found, run = objects(omma, tmp_path, "-m", small / "small.plan", picture, "--device", "null")
    assert "was built for openvino, this is null" in run.err and "null" in found["engine"]


@pytest.mark.sanitize
def test_damaged_plans(omma, tmp_path, small):
    data = (small / "small.plan").read_bytes()
    bad = tmp_path / "bad.plan"
    cases = [(data[:20], "cut short: 20 bytes"), (data[:-1], "cut short"), (data[:1000], "cut short"), (data + b"x", "1 bytes too many"),
             (data[:8] + b"\2" + data[9:], "plan format 2; this omma reads 1"),
             (data[:-100] + bytes([data[-100] ^ 4]) + data[-99:], "damaged"), (data[:40] + b"!" + data[41:], "damaged"),
             (data[:12] + b"\xff\xff\xff\x7f" + data[16:], "length cannot be")]
    for content, words in cases:
        bad.write_bytes(content)
        for args in (["detect", "-m", bad, "x.png"], ["build", bad, "--inspect"], ["build", bad, "--rebuild"]):
            r = omma(*args, code=1)
            assert len(r.err.splitlines()) == 1 and str(bad) in r.err and words in r.err, r.err
        assert bad.read_bytes() == content
    (tmp_path / "no.plan").write_bytes(b"no plan at all")
    assert "not a plan file" in omma("build", tmp_path / "no.plan", "--inspect", code=1).err
    assert "no-such" in omma("build", "no-such.plan", "--inspect", code=1).err


@pytest.mark.sanitize
@pytest.mark.parametrize("change,key", [
    (dict(compiled=[]), "compiled"), (dict(compiled=[{"width": 1}]), "height"), (dict(model={"offset": 0, "length": 5}), "offset"),
    (dict(model={"offset": 64, "length": 1e12}), "length"), (dict(precision="f8"), "precision"), (dict(opt_batch=0), "opt_batch"),
    (dict(max_batch=1e99), "max_batch"), (dict(backend=3), "backend"), (dict(model=None), "model"), (dict(fit="x"), "fit"),
    (dict(compiled=[{"width": 64, "height": 64, "batch": 1, "offset": 4000, "length": 1e9}]), "length"),
])
def test_hostile_descriptions(omma, tmp_path, small, change, key):
    bad = changed(small / "small.plan", tmp_path / "bad.plan", **change)
    r = omma("build", bad, "--inspect", code=1)
    assert len(r.err.splitlines()) == 1 and f"'{key}' is missing or wrong" in r.err, r.err


def test_the_model_inside_is_judged_as_any_other(omma, tmp_path, small):
    data = (small / "small.plan").read_bytes()
    _, _, room, _, _ = head(data)
    text = json.loads(data[32:32 + room])
    text["model"]["length"] = 100
    bad = changed(small / "small.plan", tmp_path / "bad.plan", model=text["model"])
    r = omma("detect", "-m", bad, "x.png", code=1)
    assert str(bad) in r.err and len(r.err.splitlines()) == 1


def test_what_is_said_about_the_model_goes_into_the_plan(omma, tmp_path, small, pictures):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"it's {k}" for k in range(10)))
    out = tmp_path / "named.plan"
    omma("build", small / "free.onnx", "-o", out, "--labels", labels, "--head", "classify", "--normalize", "none", "--fit", "stretch")
    picture = sorted(pictures.iterdir())[0]
    got, _, _ = objects(omma, tmp_path, "-m", out, picture)
    want, _, _ = objects(omma, tmp_path, "-m", small / "free.onnx", picture, "--labels", labels, "--normalize", "none", "--fit",
                         "stretch")
    assert got == want and got[0][0]["class"].startswith("it's ")


@pytest.mark.long
def test_int8_in_one_step(omma, tmp_path, yolov3_tiny, pictures):
    """Calibrated, quantised, compiled; its boxes are the float model's, nearly."""
    out = tmp_path / "int8.plan"
    run = omma("build", yolov3_tiny, "-o", out, "--precision", "int8", "--calib", pictures, *FEW, *SIZE)
    assert "layers int8, calibrated with 16 pictures" in run.out
    assert json.loads(omma("build", out, "--inspect", "--json", "-").out)["precision"] == "int8"
    got = json.loads(omma("eval", "-m", out, "-r", yolov3_tiny, "-i", pictures, "-n", "6", *SIZE, "--json", "-").out)
    assert got["AP50"] > 0.8 and "int8" in got["model"]["engine"] and got["reference_boxes"] > 10


def test_the_null_backend_keeps_no_form(omma, tmp_path, small, pictures):
    out = tmp_path / "null.plan"
    run = omma("build", small / "free.onnx", "-o", out, "--device", "null")
    assert "keeps no compiled form" in run.out
    got = json.loads(omma("build", out, "--inspect", "--json", "-").out)
    assert got["compiled"][0]["bytes"] == 0 and got["fits"] and got["backend"] == "null"
    assert "nothing kept" in omma("build", out, "--inspect").out
    _, found, run = objects(omma, tmp_path, "-m", out, sorted(pictures.iterdir())[0])
    assert "null" in found["engine"] and "warning" not in run.err


@pytest.mark.sanitize
def test_a_form_that_cannot_be_kept_is_no_error(omma, tmp_path, small):
    """The backend keeps forms, but not this one: said once, and nobody is warned of it."""
    out, env = tmp_path / "flaky.plan", {**os.environ, "OMMA_PLUGINS": str(BUILD / "tests/conform")}
    run = omma("build", small / "free.onnx", "-o", out, "--device", "flaky:999", "--input-size", "64x64", "--input-size", "96x64",
               env=env)
    assert run.out.count("flaky keeps no form of this model: the plan holds the model and how to compile it") == 1
    assert "warning" not in run.err
    got = json.loads(omma("build", out, "--inspect", "--json", "-", env=env).out)
    assert [c["bytes"] for c in got["compiled"]] == [0, 0]
    run = omma("run", "-m", out, "pattern:64x48:frames=3", env=env)
    assert "warning" not in run.err and "3" in run.out


@pytest.mark.sanitize
def test_usage(omma, tmp_path, small, pictures):
    free, fixed, out = small / "free.onnx", small / "fixed.onnx", tmp_path / "x.plan"
    empty = tmp_path / "empty"
    empty.mkdir()
    for args, code, words in [
        ([free], 2, ["-o PLAN"]), ([], 2, ["MODEL.onnx"]), ([free, "-o", out, "--precision", "int8"], 2, ["float model", "--calib"]),
        ([free, "-o", out, "--calib", pictures], 2, ["--precision int8"]),
        ([fixed, "-o", out, "--max-batch", "4"], 2, ["fixed batch of 1", "omma model batch"]),
        ([free, "-o", out, "--min-batch", "4", "--max-batch", "2"], 2, ["to rise"]),
        ([free, "-o", out, "--input-size", "wide"], 2, ["wide"]), ([fixed, "-o", out, "--input-size", "33x33"], 2, ["64x64 only"]),
        ([free, "--rebuild"], 2, ["no plan file"]), ([free, "--inspect"], 1, ["not a plan file"]),
        ([free, "-o", out, "--json", "x"], 2, ["--inspect"]), ([free, "-o", tmp_path / "no/such/x.plan"], 1, ["no/such"]),
        (["none.onnx", "-o", out], 1, ["none.onnx"]), ([free, "-o", out, "--device", "gpu9"], 2, ["gpu9"]),
        ([free, "-o", out, "--precision", "int8", "--calib", empty], 1, ["nothing to quantise"]),
    ]:
        r = omma("build", *args, code=code)
        assert len(r.err.splitlines()) == 1 and all(w in r.err for w in words), r.err
        assert not list(tmp_path.glob("x.plan*"))
    r = omma("detect", "-m", free, "--engine", free, "x.png", code=2)
    assert "--engine and --model are the same" in r.err
