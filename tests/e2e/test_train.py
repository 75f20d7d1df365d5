"""omma train and omma worker --mode retrain: heads that learn, against NumPy; runs that stop and go on; bad input."""
import csv
import json
import resource
import signal
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import ROOT, records, wait_for

CLASSIFY = ROOT / "tests/data/classify.onnx"
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 190)}


def picture(path, colour, rng):
    """One colour with noise and a brightness of its own, as a PPM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.array(colour) * rng.uniform(0.4, 1.2) + rng.normal(0, 25, (24, 32, 3)) + rng.normal(0, 20, 3)
    path.write_bytes(b"P6 32 24 255\n" + pixels.clip(0, 255).astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(1)
    for name, colour in COLOURS.items():
        for i in range(22 if name == "red" else 15):
            picture(folder / name / f"p_{i:04}.ppm", colour, rng)
    return folder


def train(omma, data, out, *args, **options):
    return omma("train", data, "-m", CLASSIFY, "-o", out, *args, **options)


@pytest.mark.sanitize
def test_learns_and_runs(omma, photos, tmp_path):
    """The new model says what the pictures show, by name, and stands ONNX's own check."""
    out = train(omma, photos, tmp_path / "new.onnx", "--report", tmp_path / "r.json", "--lr", 0.05).out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["top1"] >= 0.9 and report["train"] + report["val"] == 52 and report["features"] == 3
    assert sum(map(sum, report["confusion"])) == report["val"] == sum(c["val"] for c in report["classes"])
    assert [c["name"] for c in report["classes"]] == ["blue", "green", "red"]
    assert report["epochs"][0]["train_loss"] > report["epochs"][-1]["train_loss"]
    assert "precision" in out and "new.onnx" in out
    model = onnx.load(tmp_path / "new.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: p.value for p in model.metadata_props}["names"] == "{0: 'blue', 1: 'green', 2: 'red'}"
    for name in COLOURS:
        omma("run", "-m", tmp_path / "new.onnx", photos / name, "-o", f"jsonl:{tmp_path}/{name}.jsonl", "-q")
        best = [r["objects"][0]["class"] for r in records(tmp_path / f"{name}.jsonl")]
        assert best.count(name) >= 0.85 * len(best)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def reference(dump, optimizer, hidden, lr, batch, weights):
    """One epoch in double precision."""
    load = lambda name: np.load(dump / f"{name}.npy")
    x, y, order, p = load("train_x").astype(float), load("train_y"), load("order")[0], load("params_first").astype(float)
    features, classes = x.shape[1], y.max() + 1
    shapes = [(features, hidden), (hidden, classes)] if hidden else [(features, classes)]

    def layers(v):
        out, at = [], 0
        for i, o in shapes:
            out.append((v[at:at + i * o].reshape(o, i), v[at + i * o:at + i * o + o]))
            at += i * o + o
        return out

    m, v, steps = np.zeros_like(p), np.zeros_like(p), -(-len(order) // batch)
    for t in range(steps):
        rows = order[t * batch:(t + 1) * batch]
        a = [x[rows]]
        for k, (w, b) in enumerate(layers(p)):
            z = a[-1] @ w.T + b
            a.append(np.maximum(z, 0) if k + 1 < len(shapes) else z)
        share = weights[y[rows]] / weights[y[rows]].sum()
        d, grads = (softmax(a[-1]) - np.eye(classes)[y[rows]]) * share[:, None], []
        for k in reversed(range(len(shapes))):
            grads[:0] = [(d.T @ a[k]).ravel(), d.sum(0)]
            d = (d @ layers(p)[k][0]) * (a[k] > 0)
        g = np.concatenate(grads)
        rate = lr * 0.5 * (1 + np.cos(np.pi * t / steps))
        if optimizer == "sgd":
            g = g + 0.01 * p
            m = 0.9 * m + g if t else g
            p = p - rate * m
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            p = p * (1 - rate * 0.01)
            p = p - rate * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
    return p


@pytest.mark.parametrize("optimizer, hidden, balanced", [("sgd", 0, False), ("sgd", 8, True), ("adamw", 0, True), ("adamw", 8, False)])
def test_an_epoch_equals_numpys(omma, photos, tmp_path, optimizer, hidden, balanced):
    train(omma, photos, tmp_path / "o.onnx", "--epochs", 1, "--optimizer", optimizer, "--hidden", hidden, "--lr", 0.05,
          "--weight-decay", 0.01, "--batch-size", 7, "--class-weights", "balanced" if balanced else "none", "--dump", tmp_path / "d")
    y = np.load(tmp_path / "d/train_y.npy")
    weights = len(y) / (3 * np.bincount(y)) if balanced else np.ones(3)
    ours, theirs = np.load(tmp_path / "d/params_last.npy"), reference(tmp_path / "d", optimizer, hidden, 0.05, 7, weights)
    first = np.load(tmp_path / "d/params_first.npy")
    assert np.abs(theirs - first).max() > 0.02
    assert np.abs(ours - theirs).max() < 1e-4


def test_stopped_and_resumed_is_the_same(omma, photos, tmp_path):
    flags = ["--epochs", 9, "--hidden", 5, "--patience", 0]
    train(omma, photos, tmp_path / "whole.onnx", *flags)
    resumed = [*flags, "--checkpoint", tmp_path / "c", "--resume"]
    for steps in (3, 8, 13):
        out = train(omma, photos, tmp_path / "part.onnx", *resumed, "--max-steps", steps).out
        assert f"stopped after {steps} steps" in out and not (tmp_path / "part.onnx").exists()
    train(omma, photos, tmp_path / "part.onnx", *resumed)
    assert (tmp_path / "part.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_interrupted_keeps_its_checkpoint(omma, photos, tmp_path):
    process = omma.start("train", photos, "-m", CLASSIFY, "-o", tmp_path / "o.onnx", "--epochs", 10000000, "--patience", 0,
                         "--schedule", "constant", "--checkpoint", tmp_path / "c")
    wait_for((tmp_path / "c").exists, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "--resume goes on from" in out, err
    assert not (tmp_path / "o.onnx").exists()
    err = train(omma, photos, tmp_path / "o.onnx", "--epochs", 10000000, "--patience", 0, "--schedule", "constant", "--checkpoint",
                tmp_path / "c", "--resume", "--max-steps", 1).err
    assert "resumed: epoch" in err


def test_features_are_kept(omma, photos, tmp_path):
    cache = tmp_path / "cache"

    def says(*args):
        return train(omma, photos, tmp_path / "o.onnx", "--epochs", 2, "--cache", cache, *args).err

    assert "features: computed" in says()
    first = (tmp_path / "o.onnx").read_bytes()
    assert "features: taken from the cache" in says()
    assert (tmp_path / "o.onnx").read_bytes() == first
    assert "features: computed" in says("--input-size", "96x96")
    cache.write_bytes(cache.read_bytes()[:-5])
    err = says("--input-size", "96x96")
    assert "damaged" in err and "features: computed" in err


def test_csv_dummies_and_damaged_pictures(omma, photos, tmp_path):
    lines = [f"{photos}/{name}/p_{i:04}.ppm,{name},{'val' if i > 9 else 'train'}" for name in COLOURS for i in range(14)]
    (tmp_path / "broken.ppm").write_bytes(b"P6 9 9")
    (tmp_path / "list.csv").write_text("path,class,part\n" + "\n".join([*lines, "broken.ppm,red,train"]) + "\n")
    err = train(omma, tmp_path / "list.csv", tmp_path / "o.onnx", "--report", tmp_path / "r.json").err
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["train"], report["val"], report["damaged"]) == (30, 12, 1) and "broken.ppm" in err
    err = train(omma, photos, tmp_path / "o.onnx", "--dummy-classes", 4, "--epochs", 2).err
    assert "dummies drawn by the seed" in err


@pytest.mark.parametrize("data, args, code, words", [
    ("{}", ["-o", "o.onnx"], 2, "no model"),
    ("{}", ["-m", CLASSIFY], 2, "no output"),
    ("{}", ["-m", "nothing.onnx", "-o", "o.onnx"], 1, "nothing.onnx"),
    ("{}/missing", ["-m", CLASSIFY, "-o", "o.onnx"], 1, "missing: No such file"),
    ("{}/red", ["-m", CLASSIFY, "-o", "o.onnx"], 1, "red: no pictures; expected a folder of class folders"),
    ("{}/red/p_0000.ppm", ["-m", CLASSIFY, "-o", "o.onnx"], 1, "expected a folder of class folders, or a CSV"),
    ("{}", ["-m", ROOT / "tests/data/shapes.onnx", "-o", "o.onnx"], 2, "does not end in a classifier's layer"),
    ("{}", ["-m", CLASSIFY, "-o", "o.onnx", "--cut", "men"], 2, "no tensor and no layer is called 'men'; did you mean 'mean'"),
    ("{}", ["-m", CLASSIFY, "-o", "no/folder/o.onnx"], 1, "no/folder"),
    ("{}", ["-m", CLASSIFY, "-o", "o.onnx", "--resume"], 2, "--resume needs --checkpoint"),
    ("{}", ["-m", CLASSIFY, "-o", "o.onnx", "--lr", "1e6", "--optimizer", "sgd", "--hidden", "4", "--schedule", "constant"], 1, "a lower --lr"),
    ("{}", ["-m", CLASSIFY, "-o", "o.onnx", "--optimizer", "adam"], 2, "not one of sgd, adamw"),
    ("{}", ["-m", CLASSIFY, "-o", "o.onnx", "--checkpoint", CLASSIFY, "--resume"], 1, "not a checkpoint"),
    ("{}", ["-m", CLASSIFY, "-o", "o.onnx", "--dummy-classes", "1"], 2, "two or more"),
])
def test_bad_input(omma, photos, tmp_path, data, args, code, words):
    result = omma("train", data.format(photos), "-q", *args, code=code, cwd=tmp_path)
    assert words in result.err and result.err.count("\n") == 1, result
    assert list(tmp_path.iterdir()) == []


def rows(folder):
    (path,) = Path(folder).glob("M_*_metrics.csv")
    return list(csv.DictReader(path.read_text().splitlines()))


def log(folder):
    (path,) = Path(folder).glob("M_*.log")
    return path.read_text()


def test_worker_learns_from_folders(omma, photos, tmp_path):
    """The loss falls, and the head that is saved says the classes' names, in the order that was asked for."""
    (names := tmp_path / "names").write_text("red\nviolet\nblue\ngreen\n")
    omma("worker", "-m", CLASSIFY, "-i", photos, "--mode", "retrain", "-b", 8, "--max-steps", 150, "--lr", 0.5, "--save",
         tmp_path / "new.onnx", "-o", tmp_path / "w", "--labels", names)
    loss = [float(r["loss"]) for r in rows(tmp_path / "w")]
    assert len(loss) == 150 and np.mean(loss[-20:]) < 0.5 * np.mean(loss[:5])
    for r in rows(tmp_path / "w"):
        parts = sum(float(r[f"{k}_latency_ms"]) for k in ("read", "prep", "exec"))
        assert parts == pytest.approx(float(r["total_step_latency_ms"]), rel=0.03)
    assert "classes are the folders'" in log(tmp_path / "w") and "lr=0.5" in log(tmp_path / "w")
    omma("run", "-m", tmp_path / "new.onnx", photos / "green", "-o", f"jsonl:{tmp_path}/g.jsonl", "-q")
    best = [r["objects"][0]["class"] for r in records(tmp_path / "g.jsonl")]
    assert best.count("green") > len(best) / 2
    metadata = {p.key: p.value for p in onnx.load(tmp_path / "new.onnx").metadata_props}
    assert metadata["names"] == "{0: 'red', 1: 'violet', 2: 'blue', 3: 'green'}"


def test_worker_targets_and_dummies(omma, tmp_path):
    (tmp_path / "t.csv").write_text("frame,class\n0,a\n3,b\n6,a\n")
    flags = ["-m", CLASSIFY, "-i", "pattern:64x48:frames=9", "--mode", "retrain", "--max-steps", 20, "--warmup", 0]
    omma("worker", *flags, "--targets", tmp_path / "t.csv", "-o", tmp_path / "a", "-q")
    assert "3 stretches, 2 classes" in log(tmp_path / "a") and len(rows(tmp_path / "a")) == 20
    (tmp_path / "t.csv").write_text("\ufeff0,a\n3,b\n6,a\n")  # as a spreadsheet has it
    omma("worker", *flags, "--targets", tmp_path / "t.csv", "-o", tmp_path / "bom", "-q")
    assert "3 stretches, 2 classes" in log(tmp_path / "bom")
    result = omma("worker", *flags, "--classes", 7, "-o", tmp_path / "b")
    assert "labels are dummies drawn by the seed, 7 classes" in result.err and "-0" not in rows(tmp_path / "b")[0]["loss"]
    omma("worker", *flags, "--classes", 7, "-o", tmp_path / "c", "-q")
    assert [r["loss"] for r in rows(tmp_path / "b")] == [r["loss"] for r in rows(tmp_path / "c")]


def test_worker_goes_on(omma, photos, tmp_path):
    """The loss of a resumed worker is where it was, not where it began."""
    flags = ["-m", CLASSIFY, "-i", photos, "--mode", "retrain", "-b", 8, "--lr", 0.2, "--schedule", "constant", "--warmup", 0,
             "--checkpoint", tmp_path / "c", "--resume", "-q"]
    omma("worker", *flags, "--max-steps", 120, "-o", tmp_path / "a")
    omma("worker", *flags, "--max-steps", 10, "-o", tmp_path / "b")
    first, second = ([float(r["loss"]) for r in rows(tmp_path / k)] for k in "ab")
    assert np.mean(second) < 0.6 * np.mean(first[:5])
    assert "resumed from the checkpoint" in log(tmp_path / "b") and "learnt: 130 steps" in log(tmp_path / "b")
    result = omma("worker", *flags, "--hidden", 3, "--max-steps", 10, "-o", tmp_path / "d", code=2)
    assert "its head is 3-0-3" in result.err


def test_a_checkpoint_is_of_one_model(omma, tmp_path):
    """Two models with as many features: the head of one is not learnt on with the other, nor with other classes."""
    other = onnx.load(CLASSIFY)
    first = next(n for n in other.graph.node if n.input[0] == other.graph.input[0].name)
    other.graph.node.insert(0, onnx.helper.make_node("Relu", [first.input[0]], ["bright"]))
    first.input[0] = "bright"
    onnx.save(other, tmp_path / "other.onnx")
    (tmp_path / "t.csv").write_text("0,a\n3,b\n")
    (tmp_path / "u.csv").write_text("0,a\n3,c\n")
    flags = ["-i", "pattern:64x48:frames=9", "--mode", "retrain", "--max-steps", 3, "-d", "null", "--checkpoint", tmp_path / "c",
             "--resume", "-o", tmp_path / "w", "-q"]
    for _ in range(2):
        omma("worker", "-m", CLASSIFY, *flags, "--targets", tmp_path / "t.csv")
    kept = (tmp_path / "c").read_bytes()
    for model, targets in ((tmp_path / "other.onnx", "t.csv"), (CLASSIFY, "u.csv")):
        result = omma("worker", "-m", model, *flags, "--targets", tmp_path / targets, code=2)
        assert "was made with other pictures, classes or another model" in result.err and result.err.count("\n") == 1
    assert (tmp_path / "c").read_bytes() == kept


@pytest.mark.race
def test_without_an_engine(omma, photos, tmp_path):
    """Features that say nothing: what learns, keeps and resumes goes its way all the same."""
    flags = ["-d", "null", "--epochs", 3, "--checkpoint", tmp_path / "c", "--cache", tmp_path / "f"]
    assert "features: computed" in train(omma, photos, tmp_path / "o.onnx", *flags, "--max-steps", 4).err
    assert "features: taken" in train(omma, photos, tmp_path / "o.onnx", *flags, "--resume").err
    omma("worker", "-m", CLASSIFY, "-i", photos, "--mode", "retrain", "-d", "null", "-b", 4, "--max-steps", 9, "-o", tmp_path / "w",
         "--checkpoint", tmp_path / "d", "--save", tmp_path / "n.onnx", "-q")
    assert len(rows(tmp_path / "w")) == 9 and (tmp_path / "n.onnx").exists()


def test_a_checkpoint_that_does_not_fit(omma, photos, tmp_path):
    """A full disk: one line names the file, the checkpoint before stays whole, nothing half-written lies beside it."""
    flags = [photos, "-m", CLASSIFY, "-q", "--checkpoint", tmp_path / "c", "--resume", "-o", tmp_path / "o.onnx"]
    omma("train", *flags, "--max-steps", 6, "--patience", 0)
    kept = (tmp_path / "c").read_bytes()
    result = omma("train", *flags, "--max-steps", 30, "--patience", 0, code=1,
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) - 8, len(kept) - 8)))
    assert f"{tmp_path}/c: cannot write: File too large" in result.err and result.err.count("\n") == 1, result
    assert (tmp_path / "c").read_bytes() == kept and [p.name for p in tmp_path.iterdir()] == ["c"]
    assert "resumed" not in omma("train", *flags, "--max-steps", 30, "--patience", 0).err


@pytest.mark.parametrize("args, words", [
    (["--mode", "retrain", "--targets", "t.csv"], "t.csv:2: frame 3 does not come after"),
    (["--mode", "retrain", "--targets", "one.csv"], "1 classes; expected lines of frame,class"),
    (["--mode", "retrain", "--targets", "nul.csv"], "nul.csv: not a text; expected lines of frame,class"),
    (["--targets", "t.csv"], "are for --mode retrain"),
    (["--mode", "retrain", "--split-point", "mean"], "one of them"),
    (["--mode", "retrain", "--cut", "output0x"], "no tensor and no layer"),
    (["--mode", "retrain", "--targets", "two.csv", "--labels", "names"], "names: class 'b' of the data is not among its 2 names"),
])
def test_worker_bad_input(omma, tmp_path, args, words):
    (tmp_path / "t.csv").write_text("3,a\n3,b\n")
    (tmp_path / "one.csv").write_text("3,a\n4,a\n")
    (tmp_path / "nul.csv").write_bytes(b"3,a\n4,b\n\0\0\0\n9,a\n")
    (tmp_path / "two.csv").write_text("3,a\n4,b\n")
    (tmp_path / "names").write_text("a\nc\n")
    result = omma("worker", "-q", "-m", CLASSIFY, "-i", "pattern:frames=9", *args, code=None, cwd=tmp_path)
    assert result.code in (1, 2) and words in result.err and result.err.count("\n") == 1, result


@pytest.mark.long
def test_clips_with_their_last_third_held_out(omma, media, yolov3_tiny, tmp_path):
    """Which of three videos a frame is from, learnt on the first two thirds of each."""
    for name in ("bikes.mp4", "carphone_pristine.mp4", "vtest.avi"):
        omma("frames", "-i", media / name, "-o", tmp_path / "frames" / Path(name).stem, "--fps", 4, "--end", 20)
    omma("train", tmp_path / "frames", "-m", yolov3_tiny, "--cut", "convolutional_8_act", "--input-size", "160x160", "--split", "last",
         "--val", 1 / 3, "-o", tmp_path / "clips.onnx", "--report", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["val"] >= 0.3 * (report["train"] + report["val"])
    assert report["top1"] >= 0.98, report["confusion"]
    omma("run", "-m", tmp_path / "clips.onnx", media / "carphone_pristine.mp4", "--every", 10, "-o", f"jsonl:{tmp_path}/c.jsonl", "-q")
    best = [r["objects"][0]["class"] for r in records(tmp_path / "c.jsonl") if r["objects"]]
    assert best.count("carphone_pristine") >= 0.95 * len(best)
