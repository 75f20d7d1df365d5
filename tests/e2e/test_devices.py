"""`omma run` on several devices: null engines stand for them."""
import json

import pytest
from test_run import SHAPES, books


@pytest.mark.parametrize("devices", ["null,null:100", "null:100,null:200,null:300"])
def test_streams_are_shared_out_and_all_are_counted(omma, tmp_path, devices):
    inputs = []
    for i in range(6):
        inputs += ["-i", f"pattern:64x48:frames=30:seed={i}"]
    omma("run", "-m", SHAPES, "-d", devices, *inputs, "-o", f"jsonl:{tmp_path / 'all.jsonl'}", "--report", tmp_path / "r.json")
    names = devices.split(",")
    report = json.loads((tmp_path / "r.json").read_text())
    assert [d["device"] for d in report["devices"]] == names
    for d in report["devices"]:
        assert d["streams"] == 6 // len(names) and d["inferred"] == 30 * d["streams"] and d["moved"] is None
        assert d["gpu_percent"] is None
    assert sorted(s["device"] for s in report["streams"]) == sorted(names * (6 // len(names)))
    for s in report["streams"]:
        books(s)
        assert s["inferred"] == 30
    assert report["totals"]["inferred"] == 180 and {r["device"] for r in report["model"]["rectangles"]} == set(names)
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    for s in report["streams"]:
        assert [line["seq"] for line in lines if line["stream"] == s["name"]] == list(range(30))


def test_secondary_models_are_on_each_device(omma, tmp_path):
    classify = SHAPES.with_name("classify.onnx")
    inputs = ["-i", "pattern:320x240:frames=10", "-i", "pattern:320x240:frames=10:seed=2"]
    omma("run", "-m", SHAPES, "-d", "null,null:100", *inputs, "--secondary", f"model={classify},name=kind,parent=frame",
         "--report", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert [(s["name"], s["device"], s["asked"]) for s in report["secondary"]] == [("kind", "null", 10), ("kind", "null:100", 10)]
    assert report["totals"]["inferred"] == 20


@pytest.mark.parametrize("devices, says", [("null,", "expected devices with commas between"), ("nowhere:all", "no device of the kind"),
                                           ("null,nul", "did you mean 'null'")])
def test_a_list_that_makes_no_sense_is_refused(omma, devices, says):
    done = omma("run", "-m", SHAPES, "-d", devices, "pattern:64x48:frames=1", code=None)
    assert done.code in (1, 2) and says in done.err and len(done.err.strip().splitlines()) == 1
