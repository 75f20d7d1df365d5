"""Secondary models: answers beside ONNX Runtime's, memory by tracks, nesting, files the same every time, live streams that do not
wait, what is said where a configuration cannot work."""
import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from conftest import records

DATA = Path(__file__).parents[1] / "data"
BOXES, CLASSIFY, CTC = DATA / "boxes.onnx", DATA / "classify.onnx", DATA / "ctc.onnx"
PATTERN = "pattern:640x480@25:frames=60"
NAMES = ["red", "green", "blue", "yellow", "cyan", "magenta", "black", "grey", "white", "orange"]


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    path = tmp_path_factory.mktemp("second") / "letters.txt"
    path.write_text("b\ng\nr\n")
    return path


def second(o, model):
    """The answers of a model about an object, at whatever depth."""
    found = []
    for a in o.get("second", []):
        found += [a] if a["model"] == model else []
        found += second(a, model)
    return found


def apart(a, b):
    return a[0] + a[2] < b[0] or b[0] + b[2] < a[0] or a[1] + a[3] < b[1] or b[1] + b[3] < a[1]


def without_time(path):
    return [re.sub(r'"time":"[^"]*",', "", line) for line in path.read_text().splitlines()]


def report_of(path):
    return {s["name"]: s for s in json.loads(path.read_text())["secondary"]}


@pytest.mark.sanitize
def test_every_object_gets_its_answer(omma, letters, tmp_path):
    """The primary's class and the colours of its crop agree, text is lifted to the object and into the CSV."""
    out = tmp_path / "r.jsonl"
    omma("run", "-m", BOXES, "-i", PATTERN, "-i", "pattern:640x480:frames=60:seed=5", "-o", f"jsonl:{out}", "-o",
         f"csv:{tmp_path / 'r.csv'}", "--secondary", CLASSIFY, "--secondary",
         f"model={CTC},name=text,alphabet={letters},blank=last,parent-classes=red;blue",
         "--report", tmp_path / "report.json")
    seen = 0
    for r in records(out):
        for o in r["objects"]:
            [colour] = second(o, "classify")
            if all(apart(o["box"], other["box"]) for other in r["objects"] if other is not o):
                assert colour["class"] == o["class"]
                seen += 1
            if o["class"] == "green":
                assert not second(o, "text")
            if o.get("text"):
                assert o["text"] == second(o, "text")[0]["text"] and o["text_score"] == second(o, "text")[0]["text_score"]
    assert seen > 100
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert {r["text"] for r in rows if r["class"] == "red" and len(r["text"]) == 1} >= {"r"}
    books = report_of(tmp_path / "report.json")["classify"]
    assert books["asked"] == books["answered"] == sum(len(r["objects"]) for r in records(out))


def test_answers_are_onnx_runtimes(omma, tmp_path):
    """Crops of a still picture, cut by numpy and scored by ONNX Runtime."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "pictures"
    folder.mkdir()
    pictures = []
    for i in range(4):
        p = np.full((240, 320, 3), 40, np.uint8)
        p[20 + i:100, 30:130] = (0, 0, 255)
        p[120:201, 150 + 3 * i:260] = (255, 0, 0)
        p = np.clip(p.astype(int) + rng.integers(-3, 4, p.shape), 0, 255).astype(np.uint8)
        pictures.append(p)
        cv2.imwrite(str(folder / f"{i}.png"), p)
    out = tmp_path / "r.jsonl"
    omma("run", "-m", BOXES, "-i", folder, "-o", f"jsonl:{out}", "--secondary", f"model={CLASSIFY},top-k=3,margin=0.2")
    session = onnxruntime.InferenceSession(CLASSIFY, providers=["CPUExecutionProvider"])
    n = 0
    for picture, r in zip(pictures, records(out)):
        for o in r["objects"]:
            x, y, w, h = o["box"]
            x0, y0 = max(0, round(x - 0.2 * w)), max(0, round(y - 0.2 * h))
            crop = picture[y0:round(y + 1.2 * h), x0:round(x + 1.2 * w), ::-1]
            side, (ch, cw) = min(crop.shape[:2]), crop.shape[:2]  # classifiers see the square in the middle
            square = crop[(ch - side) // 2:(ch + side) // 2, (cw - side) // 2:(cw + side) // 2]
            small = cv2.resize(square, (64, 64), interpolation=cv2.INTER_LINEAR)
            logits = session.run(None, {"images": small.transpose(2, 0, 1)[None].astype(np.float32) / 255})[0][0]
            p = np.exp(logits - logits.max())
            p /= p.sum()
            answers = second(o, "classify")
            assert [a["class_id"] for a in answers][:1] == [int(p.argmax())] and len(answers) == 3
            for a in answers:
                assert abs(a["score"] - p[a["class_id"]]) < 0.05 and a["class"] == NAMES[a["class_id"]]
            n += 1
    assert n == 8


def test_a_film_through_real_models(omma, yolov3_tiny, media, tmp_path):
    """People of a film, found by YOLOv3-tiny: each crop's colours beside ONNX Runtime's on OpenCV's pictures."""
    out = tmp_path / "r.jsonl"
    omma("run", "-m", yolov3_tiny, "-i", media / "vtest.avi", "--max-frames", "14", "-o", f"jsonl:{out}", "--secondary",
         f"model={CLASSIFY},parent-classes=person,min-size=20x20,batch=4")
    film = cv2.VideoCapture(str(media / "vtest.avi"))
    session = onnxruntime.InferenceSession(CLASSIFY, providers=["CPUExecutionProvider"])
    n = 0
    for r in records(out):
        ok, picture = film.read()
        assert ok
        for o in r["objects"]:
            x, y, w, h = o["box"]
            assert bool(o.get("second")) == (o["class"] == "person" and w >= 20 and h >= 20)
            if "second" not in o:
                continue
            crop = picture[round(y):round(y + h), round(x):round(x + w), ::-1]
            side, (ch, cw) = min(crop.shape[:2]), crop.shape[:2]
            square = crop[(ch - side) // 2:(ch + side) // 2, (cw - side) // 2:(cw + side) // 2]
            small = cv2.resize(square, (64, 64), interpolation=cv2.INTER_LINEAR)
            logits = session.run(None, {"images": small.transpose(2, 0, 1)[None].astype(np.float32) / 255})[0][0]
            p = np.exp(logits - logits.max())
            p /= p.sum()
            [a] = second(o, "classify")
            assert abs(a["score"] - p[a["class_id"]]) < 0.06
            n += 1
    assert n >= 8


@pytest.mark.sanitize
def test_a_track_is_asked_about_when_it_is_worth_it(omma, tmp_path):
    asked = {}
    for each in ("frame", "track"):
        out, report = tmp_path / f"{each}.jsonl", tmp_path / f"{each}.json"
        omma("run", "-m", BOXES, "-i", PATTERN, "--track", "bytetrack", "-o", f"jsonl:{out}", "--report", report, "--secondary",
             f"model={CLASSIFY},name=colour,each={each},save-crops={tmp_path / 'crops'},confident=0.7")
        asked[each] = report_of(report)["colour"]["asked"]
        last = {o["track"]: second(o, "colour")[0]["class"] for r in records(out) for o in r["objects"] if "track" in o}
        assert set(last.values()) == {"red", "green", "blue"}
    assert asked["frame"] >= 5 * asked["track"]
    final = {o["track"]: o for r in records(tmp_path / "track.jsonl") for o in r["objects"]}
    for track, o in final.items():
        [a] = second(o, "colour")
        assert a["votes"] >= 2 and Path(a["crop"]) == tmp_path / "crops" / f"pattern-{track}-colour.jpg"
        crop = cv2.imread(a["crop"]).reshape(-1, 3).mean(0)
        assert NAMES[[2, 1, 0][int(crop.argmax())]] == o["class"]


@pytest.mark.sanitize
def test_a_file_gives_the_same_every_time(omma, letters, tmp_path):
    """Nested, by tracks and by frames, batches and threads as they like: equal to the byte but for the wall clock."""
    chains = [f"model={CLASSIFY},name=a,confident=1,every=2", f"model={CTC},name=b,parent=a,alphabet={letters},blank=last",
              f"model={BOXES},name=c,each=frame,input-size=64x64", f"model={CLASSIFY},name=d,parent=c,each=frame,budget=2",
              f"model={BOXES},name=e,parent=frame,every=3"]
    first = None
    for batch, flight in ((1, 1), (4, 2), (2, 4)):
        out = tmp_path / f"{batch}.jsonl"
        omma("run", "-m", BOXES, "-i", "pattern:640x480:frames=24", "--track", "ocsort", "-o", f"jsonl:{out}",
             *[a for c in chains for a in ("--secondary", f"{c},batch={batch},in-flight={flight}" if "boxes.onnx" not in c else c)])
        first = first or without_time(out)
        assert without_time(out) == first
    text = "\n".join(first)
    assert '"model":"b"' in text and '"model":"d"' in text and '"missing":"budget"' in text and '"model":"e"' in text


def test_live_streams_do_not_wait(omma, tmp_path):
    """A secondary ten times too slow: latencies as without it, answers late or pending, nothing lost."""
    out = {}
    for name, more in (("without", ()), ("with", ("--secondary", f"model={CLASSIFY},device=null:400000,confident=1"))):
        report = tmp_path / f"{name}.json"
        omma("run", "-m", CLASSIFY.with_name("shapes.onnx"), "-i", "pattern:160x120@10:frames=25", "--live", "--track", "iou", "-o",
             f"jsonl:{tmp_path / name}.jsonl", "--report", report, *more)
        out[name] = json.loads(report.read_text())
        t = out[name]["totals"]
        assert t["received"] == t["inferred"] + sum(t["skipped"].values()) + sum(t["dropped"].values())
        assert t["inferred"] >= 2
    lines = (tmp_path / "with.jsonl").read_text()
    assert '"missing":"pending"' in lines
    s = out["with"]["secondary"][0]
    assert s["asked"] == s["answered"] + s["empty"] + sum(s["missing"].values()) + s["in_flight"]
    assert s["asked"] < sum(len(r["objects"]) for r in records(tmp_path / "with.jsonl"))  # one question a track at a time
    late = [a["seq"] < r["seq"] for r in records(tmp_path / "with.jsonl") for o in r["objects"] for a in o.get("second", [])
            if "seq" in a]
    assert late and all(late)


def test_a_chain_in_yaml(omma, letters, tmp_path):
    config, out = tmp_path / "chain.yaml", tmp_path / "r.jsonl"
    config.write_text(f"""
model: {BOXES}
streams: [{{uri: "pattern:640x480:frames=10", name: gate}}]
sinks: ["jsonl:{out}"]
secondary:
  - name: inner          # finds the shape again inside its crop
    model: {BOXES}
    input-size: 96x96
    margin: 0.25
  - name: text
    model: {CTC}
    parent: inner
    parent-classes: [red, green, blue]
    alphabet: {letters}
    blank: last
""")
    assert f"text: {CTC}, looks at inner" in omma("run", config, "--check").out
    omma("run", config)
    n = 0
    for r in records(out):
        for o in r["objects"]:
            for a in second(o, "inner"):
                if a["class"] == o["class"]:
                    assert all(abs(p - q) < 4 for p, q in zip(a["box"], o["box"]))
                    n += len(second(a, "text"))
    assert n >= 20


def test_a_second_opinion_meets_the_objects(omma, tmp_path):
    out = tmp_path / "r.jsonl"
    omma("run", "-m", BOXES, "-i", "pattern:640x480:frames=8", "-o", f"jsonl:{out}", "--classes", "red", "--secondary",
         f"model={BOXES},name=check,parent=frame,min-score=0.5")
    for r in records(out):
        assert [o["class"] for o in r["objects"]] == ["red"]
        [a] = r["objects"][0]["second"]
        assert a["box"] == r["objects"][0]["box"]
        assert {a["class"] for a in r["second"]} == {"green", "blue"}  # what the first model did not report


@pytest.mark.parametrize("spec, words", [
    (f"model={CLASSIFY},parent=plates", ["classify", "plates"]),
    (f"model={CLASSIFY},modle=3", ["modle", "model"]),
    (f"model={CLASSIFY},parent-classes=rod", ["rod", "red"]),
    (f"model={CLASSIFY},crop=quad", ["crop", "boxes"]),
    (f"model={CLASSIFY},each=track", ["--track"]),
    (f"model={CLASSIFY},head=ctc", ["classify", "ctc"]),
    (f"model={DATA / 'ctc.onnx'}", ["ctc", "alphabet"]),
    (f"model={DATA / 'ctc.onnx'},alphabet={DATA / 'make_small.py'}", ["4 classes", "make_small.py", "characters"]),
    (f"model={CLASSIFY},labels={DATA / 'make_small.py'}", ["make_small.py", "class names", "10 classes"]),
    (f"model={CLASSIFY},gallery={DATA / 'make_small.py'}", ["classify", "embeddings"]),
    (f"model={DATA / 'boxes.onnx'},head=embedding,gallery={DATA / 'make_small.py'}", ["boxes"]),
    (f"model={CLASSIFY},min-size=-3x5", ["min-size", "-3x5"]),
    (f"model={CLASSIFY},budget=0", ["budget"]),
    (f"model={DATA / 'none.onnx'}", ["none.onnx"]),
    (f"model={CLASSIFY},save-crops=/proc/none", ["/proc/none"]),
])
def test_what_cannot_work_is_said_at_the_start(omma, spec, words):
    r = omma("run", "-m", BOXES, "-i", "pattern:frames=2", "-o", "null:", "--secondary", spec, code=None)
    assert r.code in (1, 2) and len(r.err.strip().splitlines()) == 1, r
    assert all(w in r.err for w in words), r.err


def test_yaml_errors_name_their_line(omma, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(f"model: {BOXES}\nstreams: [x.mp4]\nsecondary:\n  - model: {CLASSIFY}\n    parnt: x\n")
    r = omma("run", config, "--check", code=2)
    assert "c.yaml:5" in r.err and "parent" in r.err
