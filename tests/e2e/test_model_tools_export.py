"""scripts/export-onnx: checkpoints to ONNX, where PyTorch is installed; what it says where it is not."""
import collections
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from conftest import DEPS, ROOT

SCRIPT = ROOT / "scripts/export-onnx"
PEERS = DEPS / "venv-peers/bin/python"  # made by `make bench-peers`

# A tiny stand-in for YOLOv5's repository: the same names and the same shapes of what the layers hand on.
REPOSITORY = '''
import torch, torch.nn as nn

class Detect(nn.Module):
    dynamic, export = False, False
    def __init__(self, nc=2, ch=(8,)):
        super().__init__()
        self.nc, self.no, self.nl, self.na = nc, nc + 5, 1, 3
        self.m = nn.ModuleList(nn.Conv2d(c, self.no * self.na, 1) for c in ch)
    def forward(self, x):
        b, _, h, w = x.shape
        y = self.m[0](x).view(b, self.na, self.no, h, w).permute(0, 1, 3, 4, 2).sigmoid().reshape(b, -1, self.no)
        return (y,) if self.export else (y, [x])

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), nn.BatchNorm2d(8), nn.SiLU(), Detect())
        self.names, self.stride = ["cat", "dog"], torch.tensor([8.])
    def fuse(self):
        return self
    def forward(self, x):
        return self.model(x)
'''


def run(python, *args, code=0, cwd=None, timeout=300, env=None):
    done = subprocess.run([str(python), str(SCRIPT), *map(str, args)], capture_output=True, text=True, timeout=timeout,
                          cwd=cwd, env=env)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done


def meta(path):
    return {p.key: p.value for p in onnx.load(path).metadata_props}


def test_says_what_to_install(tmp_path):
    """The tests' own Python has no PyTorch."""
    said = run(DEPS / "venv/bin/python", "resnet18", "-o", tmp_path / "x.onnx", code=1).stderr
    assert "needs torch" in said and "pip install torch" in said and said.count("\n") == 1
    said = run(DEPS / "venv/bin/python", "missing.pt", "-o", tmp_path / "x.onnx", code=1).stderr
    assert said == "export-onnx: missing.pt: no such file\n"


def objects_of(n, seed):
    """Boxes, labels and scores of a detector, the best first."""
    dice = np.random.default_rng(seed)
    boxes = dice.uniform(0, 600, (n, 4)).astype(np.float32)
    return boxes, dice.integers(1, 91, n), np.sort(dice.uniform(0.1, 1, n).astype(np.float32))[::-1].copy()


def test_objects_are_compared_as_a_set():
    """Of a detector's objects the order does not count, and one in fifty may be another; a wrong export is seen."""
    loader = importlib.machinery.SourceFileLoader("export_onnx", str(SCRIPT))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader("export_onnx", loader))
    loader.exec_module(script)
    want = objects_of(100, 1)

    def off(*have, want=want):
        return script.objects_difference(np, want, have)

    boxes, labels, scores = want
    order = np.random.default_rng(2).permutation(100)
    assert off(*want) == 0 and off(*(x[order] for x in want)) == 0
    assert 0 < off(boxes + np.float32(0.01), labels, scores) < 1e-4
    assert off(*(x[1:] for x in want)) == 0 and off(*(x[3:] for x in want)) is None
    assert off(boxes[:, [1, 0, 3, 2]], labels, scores) is None and off(boxes * np.float32(1.01), labels, scores) is None
    assert off(boxes, labels % 90 + 1, scores) is None and off(boxes, labels, scores * np.float32(0.9)) is None
    none, one = objects_of(0, 1), objects_of(1, 3)
    assert off(*none, want=none) == 0 and off(*none) is None and off(*want, want=none) is None
    assert off(*one, want=one) == 0 and off(*one, want=objects_of(1, 4)) is None
    with pytest.raises(SystemExit):
        off(boxes * np.nan, labels, scores)


@pytest.fixture(scope="module")
def torch_python():
    done = subprocess.run([PEERS, "-c", "import torch, ultralytics, torchvision, onnx, onnxruntime"],
                          capture_output=True, text=True, timeout=120) if PEERS.exists() else None
    if not done or done.returncode:
        pytest.skip("no PyTorch with ultralytics in .deps/venv-peers (make bench-peers makes it)")
    return PEERS


@pytest.mark.long
@pytest.mark.parametrize("name,family", [("yolov8n", "yolov8"), ("yolov10n", "yolov10")])
def test_ultralytics(name, family, torch_python, omma, tmp_path):
    subprocess.run([torch_python, "-c", f"from ultralytics import YOLO; m = YOLO('{name}.yaml'); "
                    f"m.model.names = {{i: f'thing {{i}}' for i in range(80)}}; m.save('{name}.pt')"],
                   cwd=tmp_path, check=True, capture_output=True, timeout=240)
    env = {"OMMA": str(omma.binary), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    said = run(torch_python, f"{name}.pt", "-o", "m.onnx", "--size", "320x192", "--dynamic", "--simplify", cwd=tmp_path,
               env=env).stdout
    assert said.count("equal to PyTorch's outputs") == 2 and "operators:" in said
    info = json.loads(omma("model", "inspect", tmp_path / "m.onnx", "--json").out)
    assert info["family"] == family and info["dynamic_batch"] and info["dynamic_size"]
    assert info["labels"][7] == "thing 7" and (info["width"], info["height"]) == (320, 192)


@pytest.mark.long
def test_repository(torch_python, omma, tmp_path):
    """A checkpoint whose code lies in a repository's folder."""
    (tmp_path / "repo/models").mkdir(parents=True)
    (tmp_path / "repo/models/__init__.py").touch()
    (tmp_path / "repo/models/yolo.py").write_text(REPOSITORY)
    subprocess.run([torch_python, "-c", "import torch; from models.yolo import Model; "
                    "torch.save({'model': Model(), 'ema': None}, '../best.pt')"], cwd=tmp_path / "repo", check=True, timeout=120)
    said = run(torch_python, "best.pt", "-o", "m.onnx", cwd=tmp_path, code=1).stderr
    assert "--repo" in said and said.count("\n") == 1
    run(torch_python, "best.pt", "--repo", "repo", "-o", "m.onnx", "--size", "64", cwd=tmp_path)
    assert meta(tmp_path / "m.onnx")["names"] == "{0: 'cat', 1: 'dog'}" and meta(tmp_path / "m.onnx")["stride"] == "8"
    info = json.loads(omma("model", "inspect", tmp_path / "m.onnx", "--json").out)
    assert info["family"] == "yolov5" and info["labels"] == ["cat", "dog"]


@pytest.mark.long
def test_torchvision(torch_python, omma, tmp_path):
    said = run(torch_python, "resnet18", "--weights", "none", "-o", "m.onnx", "--opset", "13", cwd=tmp_path).stdout
    assert "equal to PyTorch's outputs" in said
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == 13
    info = json.loads(omma("model", "inspect", tmp_path / "m.onnx", "--json").out)
    assert info["family"] == "classify" and info["classes"] == 1000 and info["labels"][0] == "tench"
    said = run(torch_python, "resnet81", "-o", "m.onnx", cwd=tmp_path, code=1).stderr
    assert "did you mean resnet18" in said


@pytest.mark.long
def test_refuses(torch_python, tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    said = run(torch_python, "bad.pt", "-o", "m.onnx", cwd=tmp_path, code=1).stderr
    assert said.startswith("export-onnx: bad.pt: not a checkpoint") and said.count("\n") == 1
    subprocess.run([torch_python, "-c", "import torch; torch.save({'w': torch.zeros(1)}, 'w.pt')"], cwd=tmp_path, check=True)
    said = run(torch_python, "w.pt", "-o", "m.onnx", cwd=tmp_path, code=1).stderr
    assert "holds numbers only" in said
    assert not (tmp_path / "m.onnx").exists()


def digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def number(array, of_weights):
    """Of weights only the shape counts; other constants are equal to five places."""
    same = b"" if of_weights else np.round(array.astype(np.float64), 5).tobytes()
    return digest(str(array.dtype), array.shape, hashlib.sha256(same).hexdigest())


def attributes(node, known, count):
    """Those that are not as the operator has them anyway."""
    usual = onnx.defs.get_schema(node.op_type, 17).attributes
    out = []
    for a in sorted(node.attribute, key=lambda a: a.name):
        value = onnx.helper.get_attribute_value(a)
        if a.type == onnx.AttributeProto.GRAPH:
            inside, value = wiring(value, known)
            count.update(inside)
        elif a.type == onnx.AttributeProto.TENSOR:
            value = onnx.numpy_helper.to_array(value).tolist()
        elif a.name == "dilations" and set(value) == {1}:
            continue
        elif usual[a.name].default_value.type and value == onnx.helper.get_attribute_value(usual[a.name].default_value):
            continue
        out.append((a.name, round(value, 6) if isinstance(value, float) else repr(value)))
    return out


def wiring(graph, outside=()):
    """Each node of a graph by its operator, its attributes and what it takes, all the way back to the input and the
    constants, those in branches too; and the graph's outputs likewise."""
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    known = dict(outside) | {i.name: digest("input", k) for k, i in enumerate(graph.input)}
    known |= {name: number(a, False) for name, a in arrays.items()}
    count = collections.Counter()
    for node in graph.node:
        if node.op_type == "Constant":
            known[node.output[0]] = number(onnx.numpy_helper.to_array(node.attribute[0].t), False)
            continue
        takes = [number(arrays[name], True) if k and node.op_type in ("Conv", "Gemm") else known.get(name)
                 for k, name in enumerate(node.input)]
        while takes[-1] is None:
            takes.pop()
        made = attributes(node, known, count)
        for k, name in enumerate(node.output):
            known[name] = digest(node.op_type, made, takes, k)
        count[node.op_type, known[node.output[0]]] += 1
    return count, [known[o.name] for o in graph.output]


ORIGINAL = """
import sys, torch, torchvision
class Lists(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torchvision.models.detection.fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    def forward(self, images):
        found = self.inner([images[0]])[0]
        return found["boxes"], found["labels"], found["scores"]
torch.onnx.export(Lists().eval(), (torch.rand(1, 3, 480, 640),), "original.onnx", opset_version=17, dynamo=False)
print(torch.__version__)
"""


@pytest.mark.long
def test_faster_rcnn_is_the_original(torch_python, omma, tmp_path):
    """Node for node what torchvision's own export is once simplified. The picture is one that has to be padded; a square
    one lacks the node for that, and tests/unit/test_synth_zoo.c counts its operators."""
    done = subprocess.run([torch_python, "-c", ORIGINAL], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=500)
    if not done.stdout.startswith("2.15."):
        pytest.skip(f"the structure was taken from torch 2.15's export; here is {done.stdout.strip()}")
    original, ours = tmp_path / "original.onnx", tmp_path / "ours.onnx"
    omma("model", "simplify", original, "-o", original)
    omma("model", "synth", "fasterrcnn_resnet50_fpn_v2", "--size", "640x480", "-o", ours)
    assert "operators: 525 before, 525 now" in omma("model", "simplify", ours, "-o", tmp_path / "x.onnx").out
    (theirs, their_outputs), (have, outputs) = (wiring(onnx.load(path).graph) for path in (original, ours))
    assert not theirs - have and not have - theirs
    assert outputs == their_outputs and have.total() == 525 + 34  # in the branches of the Ifs


# With a real repository: a checkpoint with random weights, by the repository's own classes. Its last layer is scaled so
# that numbers tell cells apart, boxes are moderate, and about one slot in a hundred passes.
CHECKPOINT = """
import sys, cv2, numpy, torch
sys.path.insert(0, sys.argv[1])
from models.yolo import Model
torch.manual_seed(5)
model = Model(sys.argv[1] + "/models/yolov5n.yaml").eval()
for part in model.modules():
    if isinstance(part, torch.nn.BatchNorm2d):
        part.running_mean.normal_(0, 0.1)
        part.running_var.uniform_(0.5, 1.5)
        part.weight.data.uniform_(0.7, 1.3)
picture = cv2.imread(sys.argv[2])[:, :, ::-1].transpose(2, 0, 1)[None] / numpy.float32(255)
head, seen = model.model[-1], []
hooks = [layer.register_forward_hook(lambda layer, _, output: seen.append((layer, output))) for layer in head.m]
with torch.no_grad():
    model(torch.from_numpy(picture))
    for hook in hooks:
        hook.remove()
    for layer, output in seen[:len(hooks)]:
        slot = torch.full((model.model[-1].no,), 0.5)
        slot[4], slot[5 if len(slot) > 16 else 15:] = 1.5, 1.5
        gain = slot.repeat(3) / output.std((0, 2, 3))
        layer.weight.mul_(gain[:, None, None, None])
        layer.bias.copy_((layer.bias - output.mean((0, 2, 3))) * gain)
        layer.bias.view(3, -1)[:, 4] -= float(sys.argv[3])
head.grid = [torch.zeros(1)] * head.nl
torch.save({"epoch": 0, "ema": None, "model": model.half()}, "m.pt")
"""
# The repository's own decoding and suppression.
WITNESS = """
import sys, cv2, numpy, torch
sys.path.insert(0, sys.argv[1])
model = torch.load("m.pt", map_location="cpu", weights_only=False)["model"].float().eval()
import utils.general as general
x = torch.from_numpy(cv2.imread(sys.argv[2])[:, :, ::-1].transpose(2, 0, 1)[None] / numpy.float32(255))
suppress = getattr(general, "non_max_suppression_face", None) or general.non_max_suppression
with torch.no_grad():
    numpy.save("rows.npy", suppress(model(x)[0], 0.25, 0.45)[0].numpy())
"""


def real_repository(variable, what):
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"no checkout of {what}: name its folder with {variable}")
    assert (Path(folder) / "models/yolo.py").exists(), f"{variable}={folder}: no models/yolo.py there"
    return Path(folder).resolve()


def in_repository(python, code, *args, cwd):
    done = subprocess.run([python, "-c", code, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=400)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"the repository's code lacks what its requirements.txt names: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("variable,what,family,shift", [
    ("OMMA_YOLOV5_REPO", "github.com/ultralytics/yolov5", "yolov5", 4.5),
    ("OMMA_YOLOV5_FACE_REPO", "github.com/deepcam-cn/yolov5-face", "yolov5-face", 3.5)])
def test_real_repository(variable, what, family, shift, torch_python, omma, tmp_path):
    """A checkpoint of the original's classes: exported, and found box for box what its own code finds."""
    repo = real_repository(variable, what)
    picture = tmp_path / "frame.png"
    noise = np.random.default_rng(3).integers(0, 256, (256, 320, 3), np.uint8)  # no two cells alike, so no scores are equal
    cv2.imwrite(str(picture), noise)
    in_repository(torch_python, CHECKPOINT, repo, picture, shift, cwd=tmp_path)
    in_repository(torch_python, WITNESS, repo, picture, cwd=tmp_path)
    env = os.environ | {"OMMA": str(omma.binary)}
    said = run(torch_python, "m.pt", "--repo", repo, "-o", "m.onnx", "--size", "320x256", "--simplify", cwd=tmp_path,
               env=env, timeout=500).stdout
    assert said.count("equal to PyTorch's outputs") == 2
    assert meta(tmp_path / "m.onnx")["stride"] == "32"
    info = json.loads(omma("model", "inspect", tmp_path / "m.onnx", "--json").out)
    assert info["family"] == family and (info["width"], info["height"]) == (320, 256)
    wanted = np.load(tmp_path / "rows.npy")
    objects = json.loads(omma("detect", "-m", tmp_path / "m.onnx", picture, "--max-boxes", "1000", "--json", "-").out)
    objects = objects["images"][0]["objects"]
    corners = np.array([o["box"] for o in objects]) @ [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]
    inside = np.clip(wanted[:, :4], 0, [320, 256, 320, 256])  # boxes are told within the picture, where any of them is
    seen = (inside[:, 2:] > inside[:, :2]).all(1)
    wanted, inside = wanted[seen], inside[seen]
    assert 5 < len(wanted) == len(objects)
    for row, box in zip(wanted, inside):
        at = int((np.abs(corners - box).max(1) + np.abs(np.array([o["score"] for o in objects]) - row[4])).argmin())
        assert np.abs(corners[at] - box).max() < 0.1 and abs(objects[at]["score"] - row[4]) < 1e-3
        assert objects[at]["class_id"] == int(row[-1])
        if family == "yolov5-face":
            assert np.abs(np.array(objects[at]["landmarks"]).ravel() - row[5:15]).max() < 0.1
    if family == "yolov5-face":
        said = run(torch_python, "m.pt", "--repo", repo, "-o", "x.onnx", "--dynamic", cwd=tmp_path, code=1).stderr
        assert "--dynamic" in said and "export one size" in said and not (tmp_path / "x.onnx").exists()
