"""`omma faces`: alignment beside OpenCV's warp of Umeyama's similarity, vectors and search beside numpy, what it says and refuses.

The embedding is a made one, a coarse picture of the upright face: what is tested is the way there and back, not the model.
"""
import json
import struct
import subprocess

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from conftest import DEPS, ROOT, ffmpeg

TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
DETECTOR = DEPS / "models/centerface.onnx"


def coarse(path, cell=14, inputs=(3, 112, 112), output="embedding"):
    """Means of cells, less the mean of the picture."""
    side = inputs[1] // cell
    nodes = [helper.make_node("AveragePool", ["images"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
             helper.make_node("ReduceMean", ["cells"], ["mean"], axes=[2, 3], keepdims=1),
             helper.make_node("Sub", ["cells", "mean"], ["shape"]), helper.make_node("Flatten", ["shape"], [output], axis=1)]
    graph = helper.make_graph(nodes, "coarse", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, *inputs])],
                              [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 3 * side * side])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def embedding(session_dir):
    return coarse(session_dir / "coarse.onnx")


@pytest.fixture(scope="module")
def faces(session_dir, media):
    """Pictures of two people, the second one more than once, and of nobody."""
    done = subprocess.run([ROOT / "scripts/get-models", "pictures"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"scripts/get-models: {done.stderr.strip().splitlines()[-1]}")
    folder = session_dir / "faces"
    folder.mkdir()
    astronaut = cv2.imread(str(DEPS / "models/pictures/astronaut.png"))
    cv2.imwrite(str(folder / "eileen.png"), astronaut)
    turn = cv2.getRotationMatrix2D((256, 256), 25, 0.8)
    cv2.imwrite(str(folder / "eileen-turned.png"), cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE))
    ffmpeg("-i", media / "carphone_pristine.mp4", "-vf", "select='not(mod(n,30))',scale=528:-2", "-vsync", "0", folder / "driver%d.png")
    cv2.imwrite(str(folder / "nobody.png"), np.full((200, 200, 3), 90, np.uint8))
    return folder


def umeyama(points, template):
    """The original's least squares, by singular values."""
    a, b = points - points.mean(0), template - template.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = (s * sign).sum() / a.var(0).sum()
    return np.hstack([scale * rotation, (template.mean(0) - scale * rotation @ points.mean(0))[:, None]])


def found(omma, path):
    said = json.loads(omma("detect", "-m", DETECTOR, path, "--json", "-", "-q").out)
    return said["images"][0]["objects"]


def aligned(path, face):
    """The face as the original cuts it."""
    return cv2.warpAffine(cv2.imread(str(path)), umeyama(np.array(face["landmarks"]), TEMPLATE), (112, 112), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)


def vector(picture):
    cells = (cv2.resize(picture, (8, 8), interpolation=cv2.INTER_AREA)[..., ::-1].astype(float) - 127.5) / 127.5
    v = (cells - cells.mean((0, 1))).transpose(2, 0, 1).ravel()
    return v / np.linalg.norm(v)


def search(omma, gallery, *args):
    said = json.loads(omma("faces", "search", gallery, *args, "--detector", DETECTOR, "--json", "-").out)
    return said["images"]


@pytest.mark.parametrize("name", ["eileen-turned", "driver1"])
def test_alignment_equals_opencv(omma, faces, embedding, tmp_path, name):
    omma("faces", "enrol", tmp_path / "g", "x", faces / f"{name}.png", "-m", embedding, "--detector", DETECTOR, "--crops", tmp_path / "c")
    [crop] = sorted((tmp_path / "c").iterdir())
    all_faces = found(omma, faces / f"{name}.png")
    want = aligned(faces / f"{name}.png", max(all_faces, key=lambda o: o["box"][2] * o["box"][3]))
    off = np.abs(cv2.imread(str(crop)).astype(int) - want)
    assert np.mean(off) < 0.7 and np.percentile(off, 99) <= 4  # OpenCV's weights have 5 bits


def test_search(omma, faces, embedding, tmp_path):
    gallery = tmp_path / "people.gal"
    flags = ["-m", embedding, "--detector", DETECTOR]
    omma("faces", "enrol", gallery, "Eileen", faces / "eileen.png", *flags)
    said = omma("faces", "enrol", gallery, "the driver", faces / "driver1.png", faces / "driver2.png", *flags).out
    assert said.count("the driver: ") == 2
    listed = json.loads(omma("faces", "list", gallery, "--json", "-").out)
    assert listed["numbers"] == 192
    assert listed["names"] == [{"name": "Eileen", "pictures": 1}, {"name": "the driver", "pictures": 2}]
    images = search(omma, gallery, faces / "eileen-turned.png", faces / "driver3.png", faces / "nobody.png", "-m", embedding, "--top", "2",
                    "--threshold", "-1")
    assert [len(i["faces"]) for i in images] == [1, 1, 0]
    enrolled = {"Eileen": ["eileen"], "the driver": ["driver1", "driver2"]}
    known = {name: [vector(aligned(faces / f"{p}.png", found(omma, faces / f"{p}.png")[0])) for p in pictures]
             for name, pictures in enrolled.items()}
    for image, who in zip(images, ["Eileen", "the driver"]):
        path = image["image"]
        v = vector(aligned(path, found(omma, path)[0]))
        matches = image["faces"][0]["matches"]
        assert matches[0]["name"] == who and len(matches) == 2
        for m in matches:
            assert abs(m["score"] - max(float(v @ k) for k in known[m["name"]])) < 0.01
    [strict] = search(omma, gallery, faces / "driver3.png", "-m", embedding, "--threshold", "0.99999")
    assert strict["faces"][0]["matches"] == []
    table = omma("faces", "search", gallery, faces / "driver3.png", *flags).out
    assert "the driver" in table and "likeness" in table
    assert "1 entry removed" in omma("faces", "remove", gallery, "Eileen").out
    assert [n["name"] for n in json.loads(omma("faces", "list", gallery, "--json", "-").out)["names"]] == ["the driver"]


@pytest.mark.long
def test_upright_pictures_need_no_detector(omma, faces, embedding, tmp_path):
    face = aligned(faces / "eileen.png", found(omma, faces / "eileen.png")[0])
    cv2.imwrite(str(tmp_path / "upright.png"), face)
    omma("faces", "enrol", tmp_path / "g", "Eileen", tmp_path / "upright.png", "-m", embedding)
    said = json.loads(omma("faces", "search", tmp_path / "g", tmp_path / "upright.png", "-m", embedding, "--json", "-").out)
    [match] = said["images"][0]["faces"][0]["matches"]
    assert match["name"] == "Eileen" and match["score"] > 0.9999


def test_enrolling_is_all_or_nothing(omma, faces, embedding, tmp_path):
    gallery, flags = tmp_path / "g", ["-m", embedding, "--detector", DETECTOR]
    r = omma("faces", "enrol", gallery, "x", faces / "eileen.png", faces / "nobody.png", *flags, code=1)
    assert "nobody.png: no face of at least 20 pixels" in r.err and not gallery.exists()
    r = omma("faces", "enrol", gallery, "x", faces / "eileen.png", *flags, "--min-size", "400", code=1)
    assert "no face of at least 400" in r.err and not gallery.exists()


def test_what_does_not_fit(omma, faces, embedding, tmp_path, yolov3_tiny):
    gallery, other = tmp_path / "g", coarse(tmp_path / "other.onnx", cell=16)
    flags = ["--detector", DETECTOR]
    omma("faces", "enrol", gallery, "x", faces / "eileen.png", "-m", embedding, *flags)
    for verb in (["enrol", gallery, "y"], ["search", gallery]):
        r = omma("faces", *verb, faces / "eileen.png", "-m", other, *flags, code=2)
        assert len(r.err.splitlines()) == 1 and "made with another embedding model" in r.err
    r = omma("faces", "search", gallery, faces / "eileen.png", "-m", embedding, "--detector", yolov3_tiny, "--conf", "0.1", code=2)
    assert "--conf" in r.err
    r = omma("faces", "search", gallery, faces / "eileen.png", "-m", embedding, "--detector", yolov3_tiny, code=2)
    assert "yolov3 finds no landmarks" in r.err and len(r.err.splitlines()) == 1
    r = omma("faces", "search", gallery, faces / "eileen.png", tmp_path / "gone.png", "-m", embedding, *flags, code=1)
    assert "gone.png" in r.err and "eileen.png" in r.out
    data = gallery.read_bytes()
    for broken, says in ((data[:-5], "cut off"), (data[:100] + b"\0" + data[101:], "damaged"), (b"PNG" + data, "not a gallery"), (b"", "not a gallery")):
        (tmp_path / "broken").write_bytes(broken)
        r = omma("faces", "list", tmp_path / "broken", code=1)
        assert len(r.err.splitlines()) == 1 and says in r.err and "broken" in r.err


def fnv(data):
    h = 0xcbf29ce484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return h


def gallery_file(path, names, vectors, model):
    """As docs/faces.md has it."""
    text = b"".join(n.encode() + b"\0" for n in names)
    data = b"ommagal\n" + struct.pack("<IIIIQ", 1, vectors.shape[1], len(names), len(text), fnv(model.read_bytes())) + text
    data += b"\0" * (-len(text) % 4) + vectors.astype("<f4").tobytes()
    path.write_bytes(data + struct.pack("<Q", fnv(data)))
    return path


@pytest.mark.sanitize
def test_ten_thousand_people_and_nobody(omma, tmp_path):
    """Beside numpy's search; a gallery without anybody is said to be one."""
    model, picture = coarse(tmp_path / "e.onnx", cell=56), tmp_path / "p.png"
    random = np.random.default_rng(3)
    known = random.normal(size=(10000, 12))
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    cells = random.integers(0, 255, (2, 2, 3)).astype(np.uint8)
    cv2.imwrite(str(picture), cv2.resize(cells, (112, 112), interpolation=cv2.INTER_NEAREST))
    big = gallery_file(tmp_path / "big", [f"Nr. {i}" for i in range(10000)], known, model)
    cells = cv2.resize(cv2.imread(str(picture)), (2, 2), interpolation=cv2.INTER_AREA)[..., ::-1].astype(float) - 127.5
    v = (cells - cells.mean((0, 1))).transpose(2, 0, 1).ravel()
    likeness = known @ (v / np.linalg.norm(v))
    said = json.loads(omma("faces", "search", big, picture, "-m", model, "--json", "-", "--top", "5", "--threshold", "-1").out)
    matches = said["images"][0]["faces"][0]["matches"]
    assert [m["name"] for m in matches] == [f"Nr. {i}" for i in np.argsort(-likeness)[:5]]
    assert np.allclose([m["score"] for m in matches], np.sort(likeness)[::-1][:5], atol=0.001)
    assert len(json.loads(omma("faces", "list", big, "--json", "-").out)["names"]) == 10000
    r = omma("faces", "search", gallery_file(tmp_path / "none", [], known[:0], model), picture, "-m", model)
    assert "none: nobody is in it" in r.err and len(r.err.splitlines()) == 1


@pytest.mark.sanitize
def test_one_picture_twice(omma, tmp_path):
    """Of one name it adds nothing; of two names that is said."""
    model = coarse(tmp_path / "e.onnx")
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.random.default_rng(ord(name)).integers(0, 255, (112, 112, 3)).astype(np.uint8))
    gallery, flags = tmp_path / "g", ["-m", model]
    r = omma("faces", "enrol", gallery, "Ada", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "a.png", *flags)
    assert r.out.count("is there already") == 1
    assert "is there already" in omma("faces", "enrol", gallery, "Ada", tmp_path / "b.png", *flags).out
    r = omma("faces", "enrol", gallery, "Eve", tmp_path / "a.png", *flags)
    assert "a.png: the same picture is enrolled as 'Ada'" in r.err and len(r.err.splitlines()) == 1
    names = json.loads(omma("faces", "list", gallery, "--json", "-").out)["names"]
    assert names == [{"name": "Ada", "pictures": 2}, {"name": "Eve", "pictures": 1}]


@pytest.mark.sanitize
@pytest.mark.parametrize("args, says", [
    ([], "expected enrol, search, list or remove"),
    (["enroll", "g", "x", "p.png"], "did you mean 'enrol'"),
    (["enrol"], "name the gallery's file"),
    (["enrol", "g", "x"], "expected enrol GALLERY NAME PICTURE"),
    (["enrol", "g", "x", "p.png"], "no embedding model"),
    (["search", "g"], "expected search GALLERY PICTURE"),
    (["list", "g", "h"], "unexpected 'h'"),
    (["remove", "g"], "expected remove GALLERY NAME"),
    (["enrol", "g", "x", "p.png", "--json", "-"], "enrol has nothing to write"),
    (["search", "g", "p.png", "--top", "0"], "top"),
])
def test_mistakes(omma, tmp_path, args, says):
    r = omma("faces", *args, code=2, cwd=tmp_path)
    assert len(r.err.splitlines()) == 1 and says in r.err and not r.out


def test_a_gallery_that_cannot_be_written_is_told_before_the_work(omma, tmp_path):
    r = omma("faces", "enrol", "no/g", "x", "p.png", "-m", "none.onnx", code=1, cwd=tmp_path)
    assert r.err == "omma faces: no/g: cannot write: No such file or directory\n"


def test_nobody_to_remove(omma, faces, embedding, tmp_path):
    omma("faces", "enrol", tmp_path / "g", "x", faces / "eileen.png", "-m", embedding, "--detector", DETECTOR)
    assert "nobody is called 'y'" in omma("faces", "remove", tmp_path / "g", "y", code=1).err
