"""scripts/export-onnx: checkpoints to ONNX, where PyTorch is installed; what it says where it is not."""
import json
import subprocess

import onnx
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
