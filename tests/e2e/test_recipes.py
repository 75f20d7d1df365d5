"""The commands of docs/recipes.md, run as a reader would, block by block in one folder."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPS = ROOT / ".deps"
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/recipes.md").read_text(), re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, omma):
    d = tmp_path_factory.mktemp("recipes")
    for suffix in ("cfg", "weights", "names"):
        shutil.copy(DEPS / f"models/yolov3-tiny.{suffix}", d)
    for name, source, start in (("street", "vtest.avi", 0), ("lobby", "vtest.avi", 20)):
        subprocess.run(["ffmpeg", "-v", "error", "-ss", str(start), "-i", DEPS / "media" / source, "-frames:v", "40",
                        "-c:v", "libx264", "-pix_fmt", "yuv420p", d / f"{name}.mp4"], check=True)
    (d / "pictures").mkdir()
    for name, second in (("one", 1), ("two", 3)):
        subprocess.run(["ffmpeg", "-v", "error", "-ss", str(second), "-i", d / "street.mp4", "-frames:v", "1",
                        d / f"pictures/{name}.jpg"], check=True)
    return d


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.strip().splitlines()[-1][:60])
def test_recipe(block, folder, omma):
    env = os.environ | {"PATH": f"{omma.binary.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", block], cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_what_they_leave(folder):
    """Runs after the blocks: the files they promise are there and not empty."""
    for name in ("results.jsonl", "annotated_street.mp4", "annotated_lobby.mp4", "seen.csv", "report.json", "trace.json",
                 "example.yaml", "mine.jsonl", "boxes.png", "boxes.json", "free.onnx"):
        assert (folder / name).stat().st_size > 0, name
