"""`omma eval` of detectors: COCO's figures against pycocotools, YOLO's labels, agreement with a reference, mistakes."""
import contextlib
import io
import json
import signal
import time

import cv2
import numpy as np
import onnx
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

KEYS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def pycocotools(truth, found):
    """The twelve figures; None where COCOeval says -1."""
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(str(truth))
        run = COCOeval(gt, gt.loadRes(str(found)), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {k: None if v < 0 else v for k, v in zip(KEYS, run.stats)}


def scores(omma, tmp_path, *args, **kw):
    omma("eval", *args, "--json", tmp_path / "scores.json", **kw)
    return json.loads((tmp_path / "scores.json").read_text())


def same(got, want):
    for key in KEYS:
        assert got[key] == (None if want[key] is None else pytest.approx(want[key], abs=1e-6)), key


def write(path, value):
    path.write_text(json.dumps(value))
    return path


def a_set(seed, images=30, classes=5, objects=12, most=160, ties=False):
    """Random labels and results: crowds, areas that are no boxes', overlaps at the thresholds, equal scores, boxes beyond the
    hundredth, classes that only one side has."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(1000)[:images] + 5
    labels = {"images": [{"id": int(i), "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in ids],
              "categories": [{"id": int(3 * c + 1), "name": f"c{c}"} for c in rng.permutation(classes)], "annotations": []}
    found = []
    for i in ids:
        for _ in range(rng.integers(0, objects)):
            size = np.exp(rng.uniform(1, 6, 2))
            box = [*map(float, rng.uniform(0, [640, 480])), *map(float, size)]
            if rng.random() < 0.3:
                box = [float(round(v)) for v in box]
            category = int(3 * rng.integers(0, classes - 1) + 1)
            labels["annotations"].append({
                "id": len(labels["annotations"]) + 1, "image_id": int(i), "category_id": category, "bbox": box,
                "area": float(box[2] * box[3] * rng.choice([1, 0.5, 0.7])), "iscrowd": int(rng.random() < 0.1),
                **({"ignore": 1} if rng.random() < 0.1 else {})})
            for _ in range(rng.integers(0, 4)):
                moved = np.array(box) + rng.normal(0, 0.05, 4) * [box[2], box[3], box[2], box[3]]
                moved[2:] = np.abs(moved[2:])
                if rng.random() < 0.2:  # an overlap that is a threshold to the last bits
                    moved = np.array([box[0], box[1], box[2] * rng.choice([0.5, 0.75, 0.8, 0.95]), box[3]])
                found.append((int(i), category if rng.random() < 0.9 else 3 * int(rng.integers(0, classes)) + 1, moved))
        for _ in range(rng.integers(0, most) if rng.random() < 0.3 else 3):
            found.append((int(i), 1, np.array([*rng.uniform(0, [640, 480]), *np.exp(rng.uniform(1, 6, 2))])))
    order = rng.permutation(len(found))
    results = []
    for k in order:
        image, category, box = found[k]
        score = float(rng.integers(1, 6)) / 10 if ties else float(rng.random())
        results.append({"image_id": image, "category_id": category, "bbox": [float(v) for v in box], "score": score})
    return labels, results


@pytest.mark.sanitize
@pytest.mark.parametrize("seed", range(8))
def test_figures_are_those_of_pycocotools(omma, tmp_path, seed):
    labels, results = a_set(seed, ties=seed % 2 == 1, images=5 + 5 * seed)
    truth, found = write(tmp_path / "truth.json", labels), write(tmp_path / "found.json", results)
    got = scores(omma, tmp_path, "--truth", truth, "--detections", found)
    same(got, pycocotools(truth, found))
    assert got["objects"] + got["crowds"] == len(labels["annotations"])
    assert got["crowds"] == sum(a["iscrowd"] for a in labels["annotations"])


def test_empty_classes_and_no_hits(omma, tmp_path):
    """A class without objects has no figure; sizes without objects neither; all wrong is zero."""
    labels, _ = a_set(3, images=4)
    for a in labels["annotations"]:
        a.update(bbox=[0, 0, 200, 200], area=40000, iscrowd=0)
    image = labels["images"][0]["id"]
    results = [{"image_id": image, "category_id": 1, "bbox": [400, 400, 5, 5], "score": 0.5}]
    truth, found = write(tmp_path / "truth.json", labels), write(tmp_path / "found.json", results)
    got = scores(omma, tmp_path, "--truth", truth, "--detections", found)
    same(got, pycocotools(truth, found))
    assert got["AP"] == 0 and got["APs"] is None
    nothing = scores(omma, tmp_path, "--truth", truth, "--detections", write(tmp_path / "none.json", []))
    assert nothing["AP"] == 0 and nothing["boxes"] == 0


def test_id_zero_counts_as_pycocotools_has_it(omma, tmp_path):
    labels, results = a_set(2)
    for k, a in enumerate(labels["annotations"]):
        a["id"] = k
    truth, found = write(tmp_path / "truth.json", labels), write(tmp_path / "found.json", results)
    run = omma("eval", "--truth", truth, "--detections", found, "--json", tmp_path / "scores.json")
    same(json.loads((tmp_path / "scores.json").read_text()), pycocotools(truth, found))
    assert "id 0" in run.err


@pytest.fixture(scope="session")
def street(media, session_dir):
    """Five frames of a real street, as PNG: both sides read the same pixels."""
    folder = session_dir / "street"
    folder.mkdir()
    video = cv2.VideoCapture(str(media / "vtest.avi"))
    for k in range(400):
        ok, frame = video.read()
        assert ok
        if k % 80 == 0:
            cv2.imwrite(str(folder / f"{k:012d}.png"), frame)
    return folder


NAMES = ["person", "bicycle", "car", "motorbike"]
SMALL = ["--input-size", "320x320"]  # fast enough for a test


@pytest.fixture(scope="session")
def street_truth(omma, yolov3_tiny, street, session_dir):
    """Labels: what the model itself finds, moved a little; and the same as YOLO's files."""
    rng = np.random.default_rng(1)
    omma("detect", "-m", yolov3_tiny, street, *SMALL, "--conf", "0.1", "--json", session_dir / "seen.json")
    seen = json.loads((session_dir / "seen.json").read_text())
    labels = {"images": [], "annotations": [], "categories": [{"id": k + 1, "name": n} for k, n in enumerate(NAMES)]}
    yolo = session_dir / "street-labels"
    yolo.mkdir()
    for k, picture in enumerate(seen["images"]):
        name = picture["image"].rsplit("/", 1)[1]
        w, h = picture["width"], picture["height"]
        labels["images"].append({"id": k + 1, "file_name": name, "width": w, "height": h})
        lines = []
        for o in picture["objects"]:
            if o["class"] not in NAMES:
                continue
            box = np.array(o["box"]) + rng.normal(0, 0.1, 4) * np.array(o["box"])[[2, 3, 2, 3]]
            c = NAMES.index(o["class"])
            lines.append(f"{o['class_id']} {(box[0] + box[2] / 2) / w!r} {(box[1] + box[3] / 2) / h!r} "
                         f"{box[2] / w!r} {box[3] / h!r}".replace("np.float64(", "").replace(")", ""))
            labels["annotations"].append({"id": len(labels["annotations"]) + 1, "image_id": k + 1, "category_id": c + 1,
                                          "bbox": list(map(float, box)), "area": float(box[2] * box[3]), "iscrowd": 0})
        if lines:
            (yolo / name.replace(".png", ".txt")).write_text("\n".join(lines) + "\n")
    assert len(labels["annotations"]) > 10
    return write(session_dir / "street.json", labels), yolo


@pytest.fixture(scope="session")
def judged(omma, yolov3_tiny, street, street_truth, tmp_path_factory):
    """One run of a real model: the report, the boxes it saved, what was said."""
    at = tmp_path_factory.mktemp("judged")
    run = omma("eval", "-m", yolov3_tiny, "--truth", street_truth[0], "-i", street, "--save-detections", at / "found.json",
               "--json", at / "scores.json", "--per-class", "-b", 2, *SMALL)
    return json.loads((at / "scores.json").read_text()), at / "found.json", run


def test_a_model_scores_what_pycocotools_says_of_its_boxes(omma, tmp_path, street_truth, judged):
    got, found, run = judged
    same(got, pycocotools(street_truth[0], found))
    assert 0.3 < got["AP"] < got["AP50"] <= 1
    assert got["complete"] and got["pictures"] == 5 and got["model"]["batch"] == 2
    assert got["model"]["pictures_per_second"] > 0 and got["model"]["ms"]["infer"]["p50"] > 0
    same(scores(omma, tmp_path, "--truth", street_truth[0], "--detections", found), got)
    assert min(d["score"] for d in json.loads(found.read_text())) < 0.01  # down to low scores by itself
    table = [line.split() for line in run.out.splitlines()]
    assert ["AP50", "precision", "0.50", "all", "100", f"{got['AP50']:.4f}"] in table
    assert any(line and line[0] == "person" for line in table)
    assert [c["class"] for c in got["classes"]] == [n for n in NAMES if n in {c["class"] for c in got["classes"]}]


def test_yolo_labels_say_the_same(omma, tmp_path, yolov3_tiny, street, street_truth, judged):
    """The figures of all classes differ (labels of four classes, a model of eighty); person's do not."""
    got = scores(omma, tmp_path, "-m", yolov3_tiny, "--truth", street_truth[1], "-i", street, *SMALL,
                 "--save-detections", tmp_path / "found.json")
    want = {c["class"]: c for c in judged[0]["classes"]}
    for c in got["classes"]:
        if c["class"] in want and c["objects"]:
            for key in KEYS:
                assert c[key] == (None if want[c["class"]][key] is None else pytest.approx(want[c["class"]][key], abs=1e-6))
    again = scores(omma, tmp_path, "--truth", street_truth[1], "-i", street, "--detections", tmp_path / "found.json")
    assert [again[k] for k in KEYS] == pytest.approx([got[k] for k in KEYS], nan_ok=True)


def noisy(model, path):
    """The model with weights that are a little off, as an int8 one's are."""
    m = onnx.load(str(model))
    rng = np.random.default_rng(4)
    for w in m.graph.initializer:
        a = onnx.numpy_helper.to_array(w)
        if a.ndim == 4:
            w.CopyFrom(onnx.numpy_helper.from_array((a + rng.normal(0, 0.02, a.shape) * a.std()).astype(a.dtype), w.name))
    onnx.save(m, str(path))
    return path


@pytest.mark.long
def test_agreement_is_the_ap_with_the_reference_as_truth(omma, tmp_path, yolov3_tiny, street, street_truth, judged):
    """pycocotools gets the reference's boxes from the threshold on as labels, and all of the model's as results."""
    model = noisy(yolov3_tiny, tmp_path / "noisy.onnx")
    got = scores(omma, tmp_path, "-m", model, "-i", street, "-r", yolov3_tiny, "--threshold", "0.3", "--precision", "f32",
                 *SMALL)
    whole = json.loads(street_truth[0].read_text())
    labels = json.loads(omma("model", "inspect", yolov3_tiny, "--json").out)["labels"]
    whole.update(categories=[{"id": k + 1, "name": n} for k, n in enumerate(labels)], annotations=[])
    files = []
    for m in (model, yolov3_tiny):
        files.append(tmp_path / f"{m.stem}.json")
        omma("eval", "-m", m, "--truth", write(tmp_path / "every.json", whole), "-i", street, "--precision", "f32", *SMALL,
             "--save-detections", files[-1])
    reference = [d for d in json.loads(files[1].read_text()) if d["score"] >= 0.3]
    whole["annotations"] = [{"id": k + 1, "image_id": d["image_id"], "category_id": d["category_id"], "bbox": d["bbox"],
                             "area": d["bbox"][2] * d["bbox"][3], "iscrowd": 0} for k, d in enumerate(reference)]
    want = pycocotools(write(tmp_path / "reference.json", whole), files[0])
    assert got["AP50"] == pytest.approx(want["AP50"], abs=1e-6) and got["AP"] == pytest.approx(want["AP"], abs=1e-6)
    assert 0.5 < got["AP"] < 1
    assert got["reference_boxes"] == len(reference) > 5
    assert got["boxes"] == sum(d["score"] >= 0.3 for d in json.loads(files[0].read_text()))
    assert got["missed"] == got["reference_boxes"] - got["matched"] and got["extra"] == got["boxes"] - got["matched"]
    assert 0 < abs(got["score_drift_mean"]) <= got["score_drift_abs"] <= got["score_drift_max"] < 1


def test_a_model_agrees_with_itself(omma, tmp_path, yolov3_tiny, street):
    got = scores(omma, tmp_path, "-m", yolov3_tiny, "-i", street, "-r", yolov3_tiny, "--precision", "f32", *SMALL)
    assert (got["AP50"], got["AP"], got["missed"], got["extra"], got["pictures"]) == (1, 1, 0, 0, 5)
    assert got["score_drift_max"] == pytest.approx(0, abs=1e-6)
    assert got["model"]["pictures_per_second"] > 0 and got["reference"]["pictures_per_second"] > 0


@pytest.mark.long
def test_agreement_over_a_video(omma, tmp_path, yolov3_tiny, media):
    got = scores(omma, tmp_path, "-m", yolov3_tiny, "-i", media / "carphone_pristine.mp4", "-r", yolov3_tiny, "-n", "6", *SMALL)
    assert got["pictures"] == 6
    assert got["matched"] == got["reference_boxes"] == got["boxes"]


def refused(omma, *args, code, words):
    r = omma("eval", *args, code=code)
    assert len(r.err.splitlines()) == 1 and all(str(w) in r.err for w in words), r.err


@pytest.mark.sanitize
@pytest.mark.parametrize("change,words", [
    (lambda t, f: t.pop("images"), ["truth.json", "no 'images'"]),
    (lambda t, f: t["images"][1].update(id=t["images"][0]["id"]), ["two pictures have the id"]),
    (lambda t, f: t["categories"][1].update(id=t["categories"][0]["id"]), ["two categories have the id"]),
    (lambda t, f: t["annotations"][1].update(id=1), ["two annotations have the id 1"]),
    (lambda t, f: t["annotations"][2].update(bbox=[1, 2, 3]), ["annotations[2]", "four numbers"]),
    (lambda t, f: t["annotations"][0].update(category_id=777), ["annotations[0]", "777", "categories"]),
    (lambda t, f: t["images"].clear(), ["lists no pictures"]),
    (lambda t, f: f[4].update(bbox="x"), ["results[4]", "four numbers"]),
    (lambda t, f: f[4].pop("score"), ["results[4]", "'score'"]),
    (lambda t, f: f[4].update(score="high"), ["results[4]", "'score'"]),
    (lambda t, f: f[0].update(image_id=4), ["picture 4 is not in the labels", "other pictures"]),
    (lambda t, f: f.insert(0, 7), ["results[0]", "object"]),
])
def test_wrong_files(omma, tmp_path, change, words):
    labels, results = a_set(1, images=6)
    change(labels, results)
    truth, found = write(tmp_path / "truth.json", labels), write(tmp_path / "found.json", results)
    r = omma("eval", "--truth", truth, "--detections", found, code=None)
    assert r.code in (1, 2) and len(r.err.splitlines()) == 1 and all(w in r.err for w in words), r.err


@pytest.mark.sanitize
@pytest.mark.parametrize("text,words", [
    ("", ["expected an object"]), ("[]", ["expected an object"]), ("{", ["not JSON"]), ('{"images":[', ["not JSON"]),
    ('{"images":[{]}', ["not JSON"]), ('{"images":[{"id":1,}],"annotations":[],"categories":[]}', ["images[0]"]),
    ('{"images":3,"annotations":[],"categories":[]}', ["'images'", "a list"]),
    ('{"images":[{"id":1.5}],"annotations":[],"categories":[]}', ["images[0]", "whole number"]),
    ('{"images":[{"id":1,"width":-3,"height":2}],"annotations":[],"categories":[]}', ["images[0]", "whole numbers"]),
])
def test_no_coco(omma, tmp_path, text, words):
    truth = tmp_path / "truth.json"
    truth.write_text(text)
    refused(omma, "--truth", truth, "--detections", write(tmp_path / "found.json", []), code=None, words=words + [truth])


def test_labels_of_other_pictures(omma, tmp_path, yolov3_tiny, street, street_truth):
    labels = json.loads(street_truth[0].read_text())
    first = labels["images"][0]["file_name"]
    labels["images"][0]["file_name"] = "missing.png"
    refused(omma, "-m", yolov3_tiny, "--truth", write(tmp_path / "a.json", labels), "-i", street, code=1,
            words=["1 of 5 pictures", "missing.png", "-i names"])
    labels["images"][0].update(file_name=first, width=640)
    refused(omma, "-m", yolov3_tiny, "--truth", write(tmp_path / "b.json", labels), "-i", street, code=2,
            words=[first, "768x576", "640x576", "other pictures"])
    for k, c in enumerate(labels["categories"]):
        c["name"] = f"thing{k}"
    refused(omma, "-m", yolov3_tiny, "--truth", write(tmp_path / "c.json", labels), "-i", street, code=2,
            words=["80 classes", "thing0", "do not match", "--match"])
    refused(omma, "-m", yolov3_tiny, "--truth", tmp_path, "-i", street, code=2, words=["none of the 5 pictures has labels"])
    high = tmp_path / "high"
    high.mkdir()
    name = first.replace(".png", ".txt")
    (high / name).write_text("80 0.5 0.5 0.1 0.1\n")
    refused(omma, "-m", yolov3_tiny, "--truth", high, "-i", street, code=2, words=["80 classes", "81", "do not match"])
    (high / name).write_text("0 0.5 0.5 0.1\n")
    refused(omma, "-m", yolov3_tiny, "--truth", high, "-i", street, code=1, words=[f"{name}:1", "class cx cy w h"])


def test_usage(omma, tmp_path, yolov3_tiny, street, street_truth):
    refused(omma, "--truth", "x.json", code=2, words=["-m MODEL"])
    refused(omma, "-m", yolov3_tiny, "--truth", tmp_path / "no.json", code=1, words=["no.json"])
    refused(omma, "-m", yolov3_tiny, "--truth", "x", "--reference", yolov3_tiny, code=2, words=["--reference"])
    refused(omma, "-m", yolov3_tiny, "--truth", "x", "--detections", "y", code=2, words=["--detections"])
    refused(omma, "--detections", "y", code=2, words=["--truth"])
    refused(omma, "-m", yolov3_tiny, "--reference", yolov3_tiny, code=2, words=["-i"])
    refused(omma, "-m", yolov3_tiny, "--truth", street_truth[1], code=2, words=["-i"])
    refused(omma, "-m", yolov3_tiny, "--truth", "plates.csv", code=2, words=["CSV", "COCO"])
    refused(omma, "-m", yolov3_tiny, "--reference", yolov3_tiny, "-i", tmp_path, code=1, words=[tmp_path])


def test_a_stop_scores_what_was_seen(omma, tmp_path, yolov3_tiny, street, street_truth):
    """Ctrl-C: the pictures so far, said to be so, exit code 1."""
    labels = json.loads(street_truth[0].read_text())
    many = {**labels, "images": [], "annotations": []}
    for k in range(4000):
        many["images"].append({**labels["images"][k % 5], "id": k + 1})
    process = omma.start("eval", "-m", yolov3_tiny, "--truth", write(tmp_path / "many.json", many), "-i", street, "--json",
                         tmp_path / "scores.json", "--save-detections", tmp_path / "found.json")
    begin = time.monotonic()
    while not list(tmp_path.glob("found.json*")) and time.monotonic() < begin + 60 and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    if "before the first" in err:
        return
    got = json.loads((tmp_path / "scores.json").read_text())
    assert not got["complete"] and 0 < got["pictures"] < 4000 and f"stopped after {got['pictures']} of 4000" in out
    assert {d["image_id"] for d in json.loads((tmp_path / "found.json").read_text())} <= set(range(1, got["pictures"] + 1))
