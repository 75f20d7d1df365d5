"""What the documentation says of files is what the files hold: every name, both ways."""
import csv
import json
import re

import numpy as np
import onnx
import pytest

import plants
from conftest import ROOT

SHAPES = ROOT / "tests/data/shapes.onnx"
CLASSIFY = ROOT / "tests/data/classify.onnx"
PATTERN = "pattern:64x48:frames=30"

# What only some machines, devices or calls have.
GPU = {"f16_gflops", "tf32_gflops", "to_device_gbs", "to_host_gbs", "device", "counted_by", "counters", "GPU driver"}
SOMETIMES = GPU | {"gap", "why", "int8_latency_us", "throttled_seconds", "power_throttles", "power", "joules", "watts", "joules_a_frame", "GPU",
                   "engine NAME"}


def table(page, first):
    """The rows of the table whose heading begins with `first`: lists of cells."""
    lines = iter((ROOT / "docs" / page).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            break
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            return found
        found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def names(text):
    return set(re.findall(r"`([^`]+)`", text))


def keys(value, leave=()):
    """All members' names, at any depth, but for what is inside of `leave`."""
    if isinstance(value, list):
        return {name for item in value for name in keys(item, leave)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {name for key, inner in value.items() if key not in leave for name in keys(inner, leave)}


@pytest.fixture(scope="module")
def profiles(omma, tmp_path_factory):
    """Of a model with a prediction, and of a run."""
    folder = tmp_path_factory.mktemp("documented")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(folder))
    nodes, weights = [], {}
    plants._conv(nodes, weights, np.random.default_rng(1), "conv", "images", 3, 8, 3)
    nodes.append(onnx.helper.make_node("Relu", ["conv"], ["out"], name="relu"))
    omma("profile", plants._save(folder / "m.onnx", nodes, weights, 32), "--iterations", 3, "--what-if", "batch=2", "-q", "--json", folder / "m.json")
    omma("run", "-m", SHAPES, PATTERN, "-o", "null:", "-q", "--profile", folder / "r.json")
    patch.undo()
    return json.loads((folder / "m.json").read_text()), json.loads((folder / "r.json").read_text())


def test_members_of_a_profile(profiles):
    rows = {next(iter(names(row[0]))): row for row in table("profiling.md", "Member") if len(names(row[0])) == 1}
    said = set().union(*(names(cell) for row in table("profiling.md", "Member") for cell in row))
    held = set().union(*(keys(p, leave={"batch_sizes", "system"}) for p in profiles))
    held |= set().union(*(p["system"] for p in profiles))
    engines = {k for k in held if k.startswith("engine ")}
    assert held - engines - said == set(), "nothing is written that is not documented"
    words = {"ncu", "nsys", "--report", "profile"}
    assert said - held - SOMETIMES - words == set(), "nothing is documented that is not written"
    for member in ("totals", "layers", "types", "fusions", "findings", "peaks", "what_if"):
        assert keys(profiles[0][member]) - GPU <= names(rows[member][1]), member
    assert keys(profiles[1]["run"], leave={"batch_sizes"}) <= names(rows["run"][1])


def test_columns_of_a_worker(omma, tmp_path):
    omma("worker", "-m", CLASSIFY, "-i", PATTERN, "--split-point", "mean", "-q", "-o", tmp_path / "w")
    (path,) = (tmp_path / "w").glob("M_*.csv")
    columns = next(csv.reader(path.open()))
    said = [next(iter(names(row[0]))) for row in table("workers.md", "Column")]
    more = re.search(r"Of a model in two parts, behind these: (.*?)\.\n", (ROOT / "docs/workers.md").read_text(), re.DOTALL)
    assert columns[:len(said)] == said
    assert set(columns[len(said):]) == names(more[1]) - {"exec_latency_ms"}
    omma("worker", "-m", CLASSIFY, "-i", PATTERN, "--split-sweep", "--max-steps", 2, "--device", "null:0", "-q", "-o", tmp_path / "s")
    said = set().union(*(names(row[0]) for row in table("workers.md", "`split_{model}.csv`, `splits` in `.json`")))
    assert set(next(csv.reader((tmp_path / "s/split_classify.csv").open()))) == said
    assert keys(json.loads((tmp_path / "s/split_classify.json").read_text())["splits"]) == said


def test_names_of_a_launch(omma, tmp_path):
    worker = {"model-name": str(CLASSIFY), "input-path": PATTERN, "mode": "retrain"}
    jobs = [{"name": "w", "args": worker}, {"name": "r", "command": "run", "args": ["-m", str(SHAPES), PATTERN, "-o", "null:"]}]
    (tmp_path / "l.yaml").write_text(json.dumps({"output": str(tmp_path / "o"), "jobs": jobs}))
    omma("launch", tmp_path / "l.yaml", "--alone", "-q")
    report = json.loads((tmp_path / "o/summary.json").read_text())
    said = set().union(*(names(row[0]) for row in table("workers.md", "Name")))
    inner = {"mean", "p50", "p95", "p99", "max"}
    assert keys(report["processes"]) - inner == said
    text = (ROOT / "docs/workers.md").read_text()
    intro = text.split("`summary.json`, `summary.csv`")[1].split("| Name |")[0]
    assert set(report) <= names(intro) | said
    keys_said = set().union(*(names(row[0]) for row in table("workers.md", "Key")))
    help_ = {"name", "command", "args", "cores", "device", "start", "copies", "repeat", "env", "prefix", "restart", "restarts", "backoff", "timeout"}
    assert keys_said == help_


def test_members_of_a_training(omma, tmp_path):
    omma("frames", "-i", "pattern:64x64:frames=16", "-o", tmp_path / "all", "-q")
    for i, picture in enumerate(sorted((tmp_path / "all").iterdir())):
        folder = tmp_path / "data" / str(i % 2)
        folder.mkdir(parents=True, exist_ok=True)
        picture.rename(folder / picture.name)
    omma("train", tmp_path / "data", "-m", CLASSIFY, "-o", tmp_path / "n.onnx", "--epochs", 2, "-q", "--report", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    rows = table("train.md", "`--report`")
    said = set().union(*(names(cell) for row in rows for cell in row)) - {"--max-steps", "--patience"}
    held = keys(report, leave={"options"})
    assert held - said == set() and said - held - {"confusion[true][said]"} == set()
