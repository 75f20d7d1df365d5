"""The commands of docs/models.md, run as a reader would, in one folder."""
import os
import re
import subprocess

import cv2
import pytest

from conftest import DEPS, ROOT

BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/models.md").read_text(), re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    done = subprocess.run([ROOT / "scripts/get-models", "--all"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"scripts/get-models: {done.stderr.strip().splitlines()[-1]}")
    d = tmp_path_factory.mktemp("models")
    (d / ".deps").symlink_to(DEPS)
    (d / "scripts").symlink_to(ROOT / "scripts")
    page = cv2.imread(str(DEPS / "models/pictures/page.png"))
    cv2.imwrite(str(d / "line.png"), page[12:31, 6:293])
    return d


@pytest.mark.long
@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.strip().splitlines()[-1][:60])
def test_block(block, folder, omma):
    env = os.environ | {"PATH": f"{omma.binary.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", block], cwd=folder, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_every_family_is_there(omma):
    """The page's table has all families that the command knows."""
    text = (ROOT / "docs/models.md").read_text()
    said = omma("detect", "-m", "x.onnx", "--head", "nothing", "x.png", code=None).err
    rows = set(re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.M))
    assert {"yolov8", "ctc", "raw"} <= rows, said
