"""omma worker in two parts: the same answers as in one, rows that sum up, the sweep's tables, what is no split."""
import csv
import json
import os
import re
from pathlib import Path

import pytest
from conftest import BUILD, ROOT
from test_worker import check_sums, log

SHAPES = ROOT / "tests/data/shapes.onnx"
CLASSIFY = ROOT / "tests/data/classify.onnx"
MORE = ["first_latency_ms", "transfer_latency_ms", "second_latency_ms", "wait_latency_ms", "transfer_bytes"]


def rows(folder):
    (path,) = Path(folder).glob("M_*_metrics.csv")
    text = path.read_text()
    assert text.endswith("\n") and text.splitlines()[0].split(",")[-5:] == MORE
    return list(csv.DictReader(text.splitlines()))


def found(folder):
    return re.search(r"found: (.*)", log(folder)).group(1)


def check_parts(table, size):
    for row in table:
        parts = sum(float(row[c]) for c in MORE[:4])
        assert parts == pytest.approx(float(row["exec_latency_ms"]), abs=1e-3)
        assert int(row["transfer_bytes"]) == size


@pytest.mark.sanitize
@pytest.mark.parametrize("point, tensors", [("classify:mean", {"mean"}), ("flat", {"flat"})])
def test_both_parts_say_what_one_says(omma, tmp_path, point, tensors):
    flags = ["-m", CLASSIFY, "-i", "pattern:96x64:frames=22", "-b", 4, "-q"]
    omma("worker", *flags, "-o", tmp_path / "whole")
    omma("worker", *flags, "--split-point", point, "-o", tmp_path / "split")
    table = rows(tmp_path / "split")
    assert [int(r["step"]) for r in table] == list(range(len(table))) and len(table) == 4
    check_sums(table)
    check_parts(table, 4 * 3 * 4)
    assert found(tmp_path / "split") == found(tmp_path / "whole")
    assert f"pass: '{tensors.pop()}' 4x3" in log(tmp_path / "split")


@pytest.mark.parametrize("point", ["model.9", "yolov8n:/model.22/Concat_1"])
def test_all_that_is_live_passes(omma, yolov8n, media, tmp_path, point):
    """A detector whose levels go round the split; also where a layer is in the middle of a block."""
    flags = ["-m", yolov8n, "-i", media / "bikes.mp4", "--max-steps", 1, "--warmup", 0, "-q"]
    if not (whole := tmp_path.parent / "whole_yolov8n").exists():
        omma("worker", *flags, "-o", whole)
    omma("worker", *flags, "--split-point", point, "-o", tmp_path)
    live = re.search(r"([0-9.]+) MB a batch pass: (.*)", log(tmp_path)).group(2)
    sizes = [eval(shape.replace("x", "*")) for shape in re.findall(r"' (\S+?)(?:,|$)", live)]
    assert len(sizes) >= 2
    check_parts(rows(tmp_path), 4 * sum(sizes))
    assert found(tmp_path) == found(whole)


def test_cores_are_apart(omma, tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only")
    first, second = sorted(os.sched_getaffinity(0))[:2]
    flags = ["-m", CLASSIFY, "-i", "pattern:frames=9", "--split-point", "mean", "-q"]
    omma("worker", *flags, "--core-bind", f"{first},{second}", "-o", tmp_path / "a")
    assert f"cores of the first part: {first}\n" in log(tmp_path / "a") and f"cores of the second part: {second}\n" in log(tmp_path / "a")
    omma("worker", *flags, "--core-bind", first, "--split-cores", first, "-o", tmp_path / "b")
    assert "warning: both parts may run on the same cores" in log(tmp_path / "b")


def test_two_devices(omma, tmp_path):
    """The second part on another engine, which computes nothing but takes its time."""
    omma("worker", "-m", CLASSIFY, "-i", "pattern:frames=12", "--split-point", "mean", "--split-device", "null:20000", "-o", tmp_path, "-q")
    table = rows(tmp_path)
    assert "second part: null" in log(tmp_path)
    assert all(float(r["second_latency_ms"]) >= 20 for r in table)


def test_a_device_with_memory_of_its_own(omma, tmp_path):
    """A plug-in that stands for a GPU: what passes is copied there."""
    omma("worker", "-m", CLASSIFY, "-i", "pattern:frames=12", "--split-point", "mean", "--split-device", "flaky:900", "-o", tmp_path, "-q",
         env={**os.environ, "OMMA_PLUGINS": f"{BUILD}/tests/conform:{BUILD}/src/backend/openvino"})
    table = rows(tmp_path)
    assert len(table) == 10 and "split-device=flaky:900" in log(tmp_path)
    check_sums(table)
    check_parts(table, 4 * 3)


@pytest.mark.race
def test_parts_overlap(omma, tmp_path):
    """Two parts of 100 ms each: a step takes 200 ms and more, the run less than 200 a step."""
    omma("worker", "-m", CLASSIFY, "-i", "pattern:64x48:frames=0", "--split-point", "mean", "--device", "null:100000", "--max-steps", 12,
         "-o", tmp_path, "-q")
    steps, seconds = re.search(r"summary: (\d+) steps, \d+ frames in ([0-9.]+) s", log(tmp_path)).groups()
    assert all(float(r["total_step_latency_ms"]) >= 200 for r in rows(tmp_path))
    assert float(seconds) < 0.18 * int(steps)


def test_sweep(omma, tmp_path):
    """Every split of a real structure: sizes that the shapes tell, work that rises, three files that agree."""
    result = omma("worker", "-m", "mobilenet_v2", "-i", "pattern:224x224:frames=4", "--split-sweep", "--split-max", 3, "--max-steps", 2,
                  "--device", "null:1000", "-o", tmp_path)
    table = list(csv.DictReader((tmp_path / "split_mobilenet_v2.csv").read_text().splitlines()))
    report = json.loads((tmp_path / "split_mobilenet_v2.json").read_text())
    page = (tmp_path / "split_mobilenet_v2.html").read_text()
    assert "split 3 of 3" in result.err and len(table) == 4 and len(report["splits"]) == 3
    assert table[0]["tensor"] == "" and float(table[0]["fps"]) > 0
    share = [float(r["first_share"]) for r in table[1:]]
    assert share == sorted(share) and 0 < share[0] and share[-1] < 1
    for row, split in zip(table[1:], report["splits"]):
        assert row["tensor"] == split["tensor"] and int(row["transfer_bytes"]) == split["transfer_bytes"] > 0
        assert float(row["latency_ms"]) >= 2 and row["tensor"] in page
    assert page.count("<svg") == 3 and "http" not in page.replace("http://www.w3.org", "")


def test_a_sweep_of_any_length(omma, tmp_path):
    """More steps than are of use, and than a number of 32 bits holds."""
    omma("worker", "-m", CLASSIFY, "-i", "pattern:64x48:frames=4", "--split-sweep", "--split-max", 1, "--max-steps", 2**32, "--device", "null:0",
         "-o", tmp_path, "-q")
    report = json.loads((tmp_path / "split_classify.json").read_text())
    assert report["steps"] == 1000 and report["unsplit"]["latency_ms"] >= 0 and len(report["splits"]) == 1


def test_a_sweep_of_a_long_name(omma, tmp_path):
    model = tmp_path / ("é" * 124 + ".onnx")
    model.write_bytes(CLASSIFY.read_bytes())
    omma("worker", "-m", model, "-i", "pattern:64x48:frames=4", "--split-sweep", "--split-max", 1, "--max-steps", 1, "--device", "null:0",
         "-o", tmp_path / "o", "-q")
    assert sorted(p.name for p in (tmp_path / "o").glob("split_*")) == [f"split_{'é' * 100}.{kind}" for kind in ("csv", "html", "json")]


@pytest.mark.parametrize("args, words", [
    (["--split-point", "layr3"], "no layer, tensor or module is called 'layr3'"),
    (["--split-point", "classify:men"], "did you mean 'mean'"),
    (["--split-point", "resnet50:mean"], "is for the model 'resnet50'"),
    (["--split-point", "output0"], "nothing comes behind it"),
    (["--split-point", "mean", "--split-sweep"], "one of them"),
    (["--split-point", "mean", "--infer-on-gpu"], "by --device and --split-device"),
    (["--split-cores", "0"], "need --split-point"),
    (["--split-point", "mean", "--split-cores", "0-9999"], "for this process; it has"),
    (["--split-point", "mean", "--split-device", "nul"], "nul"),
])
def test_bad_input(omma, tmp_path, args, words):
    result = omma("worker", "-q", "-m", CLASSIFY, "-i", "pattern:frames=9", *args, code=2, cwd=tmp_path)
    assert words in result.err and result.err.count("\n") == 1, result
