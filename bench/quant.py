#!/usr/bin/python3
"""int8 models of omma quantize beside those of onnxruntime.quantization and NNCF, made with the same pictures.

    bench/quant.py [--build DIR] [--only MODEL,...] [--ways WAY,...] [--accuracy] [--parts] [--speed] [--calibration] [--record FILE]

Accuracy (yolov3-tiny, CenterFace, PP-OCR's and a plate's recogniser): the int8 model against the float one in the same
engine, `omma detect`. Detectors: agreement AP50 (COCO's, a mean over classes; boxes down to 0.001, the float model's boxes
from the family's own threshold on for truth). Readers: the share of crops with equal text (but for spaces at its ends), of all
and of those that the float model reads as they were drawn (`scores_read_right`). `int8_share`: of the multiplications.
`differ`: which crops; `scores_but_spaces`. Readers have two rows: crops that are
drawn and blurred until the float model itself fails at many (ppocr-rec, plate-rec), and crops as they come from use, cut by the float
models out of the generated street (plate-street) and out of photographs (ppocr-scene; bench/crops.py).
Calibration and judging never share a clip, a font, a photograph of text or a face. The others are used as their manuals advise for a processor without VNNI: weights of 7 bits
(onnxruntime: reduce_range; NNCF: its own fix against overflow).
Parts: equal texts of the readers with weights of 7 and of 8 bits, with the weights alone and with the activations alone, all computed by
ONNX Runtime in floats, without its optimiser: what a processor gives whose sums of 8-bit products do not overflow (VNNI).
Speed (yolov8n, yolov5s of random weights): milliseconds an inference in OpenVINO, all models in turn, medians, fp32 beside;
and the layers of ours that still run in float, with their times.
Calibration: pictures a second of `omma quantize` against plain inference of the float model, and the memory it takes with
100 and with 1,000 pictures.

What it needs beside a build and `scripts/get-models --all` goes into .deps/venv-nncf, pinned by scripts/lock/py-nncf.txt.
Exit status 1 where something falls short: AP50 0.968, equal texts 99 %, below another, calibration below half of the speed.
"""
import argparse
import collections
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".deps/venv-nncf"
LOCK = ROOT / "scripts/lock/py-nncf.txt"
MODELS, MEDIA = ROOT / ".deps/models", ROOT / ".deps/media"
FONTS = Path("/usr/share/fonts/truetype/dejavu")
AP50, TEXTS, LEAST_BOXES = 0.968, 0.99, 300
PART = 4  # pictures at once in onnxruntime's calibration, or fewer: it wants a divisor of their number
METHODS = ["mse", "minmax", "percentile", "entropy"]


def enter_venv():
    """This script again, by the interpreter that has the pinned packages."""
    stamp = VENV / "stamp"
    if Path(sys.prefix) == VENV:
        return
    if not stamp.exists() or stamp.read_text() != LOCK.read_text():
        print("downloading .deps/venv-nncf", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([VENV / "bin/python", "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check", "--no-deps",
                        "--require-hashes", "-r", LOCK], check=True)
        stamp.write_text(LOCK.read_text())
    os.execv(VENV / "bin/python", [str(VENV / "bin/python"), "-P", __file__, *sys.argv[1:]])


# ---- pictures ----

def frames(clip, first, step, count, size):
    """`count` pictures of a clip, scaled."""
    import cv2
    video, out = cv2.VideoCapture(str(MEDIA / clip)), []
    for i in range(first + step * count):
        ok, picture = video.read()
        if not ok:
            break
        if i >= first and (i - first) % step == 0:
            out.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    return out


def people(judge):
    """Streets and people: two clips to calibrate with, a third to judge by."""
    size = (416, 320)
    if judge:
        return frames("vtest.avi", 5, 9, 80, size)
    return frames("bikes.mp4", 0, 5, 48, size) + frames("carphone_pristine.mp4", 0, 23, 16, size)


def heads(judge):
    """Portraits: every other person of Labeled Faces in the Wild's sample, and one from a clip or a photograph."""
    import cv2
    import numpy as np
    many = np.load(next(VENV.glob("lib/*/site-packages/skimage/data/lfw_subset.npy")))[:100][judge::2]
    out = [cv2.cvtColor(np.uint8(np.clip(f / f.max(), 0, 1) * 255), cv2.COLOR_GRAY2BGR) for f in many]
    photo = [cv2.imread(str(MODELS / "pictures/astronaut.png"))[0:300, 90:390]]
    clip = [f[8:152, 20:152] for f in frames("carphone_pristine.mp4", 0, 18, 20, (176, 144))]
    return out + (clip if judge else photo * 10)


def faces(judge):
    """Groups of portraits over streets; neither a person nor a clip is in both parts."""
    import cv2
    import numpy as np
    rng, out = np.random.default_rng(1 + judge), []
    portraits = heads(judge)
    for place in frames("vtest.avi", 100, 11, 60, (448, 320)) if judge else frames("bikes.mp4", 0, 5, 48, (448, 320)):
        for k in range(8):
            head = portraits[rng.integers(len(portraits))]
            side = int(rng.integers(44, 104))
            head = cv2.resize(head, (side, side * head.shape[0] // head.shape[1]), interpolation=cv2.INTER_CUBIC)
            if rng.random() < 0.5:
                head = head[:, ::-1]
            head = np.clip(head * rng.uniform(0.6, 1.3) + rng.normal(0, 3, head.shape), 0, 255).astype(np.uint8)
            y, x = int(rng.integers(0, 50)) + k // 4 * 160, int(rng.integers(0, 10)) + k % 4 * 112
            h, w = min(head.shape[0], 320 - y), min(head.shape[1], 448 - x)
            place[y:y + h, x:x + w] = head[:h, :w]
        out.append(place)
    return out


def worn(rng, picture):
    """As a camera gives it: blurred a little, with noise."""
    import cv2
    import numpy as np
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.1))
    return np.clip(picture * rng.uniform(0.75, 1.1) + rng.normal(0, rng.uniform(0, 8), picture.shape), 0, 255).astype(np.uint8)


CROPS = (64, 320, 256)  # to calibrate with, to judge by, and those that --mixed may look at


def lines(judge):
    """Lines of text in other fonts and words for judging (1); in other words for checking (2)."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont
    rng = np.random.default_rng(20 + judge)
    fonts = sorted(FONTS.glob("*.ttf"))[judge % 2::2]
    # A text that never changes: records of different days are of the same words.
    words = sorted({w for w in (ROOT / "LICENSE").read_text().split() if w.isalnum() and w.isascii() and len(w) < 12})
    out, lines.drawn = [], []
    for i in range(CROPS[judge]):
        text = ""
        while len(text) < 9:
            text = f"{text} {words[rng.integers(len(words))]}".strip()[:18].strip()
        lines.drawn.append(text)
        paper, ink = [tuple(int(v) for v in rng.integers(*span, 3)) for span in ((150, 256), (0, 90))]
        image = Image.new("RGB", (320, 48), ink if i % 5 == 0 else paper)
        font = ImageFont.truetype(str(fonts[i % len(fonts)]), int(rng.integers(24, 31)))
        ImageDraw.Draw(image).text((int(rng.integers(3, 12)), int(rng.integers(3, 9))), text, font=font, fill=paper if i % 5 == 0 else ink)
        out.append(worn(rng, np.asarray(image)[..., ::-1].copy()))
    return out


def plates(judge):
    import cv2
    import numpy as np
    rng, out, plates.drawn = np.random.default_rng(40 + judge), [], []
    for i in range(CROPS[judge]):
        text = "".join(rng.choice(list("ABCDEFGHJKLMNPQRSTUVWXYZ"), 1)) + "".join(rng.choice(list("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"), 5))
        plates.drawn.append(text)
        plate = np.full((140, 440, 3), (int(rng.integers(110, 190)), int(rng.integers(40, 80)), int(rng.integers(0, 30))), np.uint8)
        cv2.rectangle(plate, (6, 6), (433, 133), (255, 255, 255), 3)
        face = cv2.FONT_HERSHEY_DUPLEX if judge == 1 else cv2.FONT_HERSHEY_SIMPLEX
        for k, char in enumerate(text):
            cv2.putText(plate, char, (30 + k * 66 + 30 * (k > 0), 108), face, 2.6, (255, 255, 255), int(rng.integers(5, 9)), cv2.LINE_AA)
        corners = np.float32([[0, 0], [440, 0], [440, 140], [0, 140]])
        moved = corners + rng.normal(0, 5, (4, 2)).astype(np.float32)
        plate = cv2.warpPerspective(plate, cv2.getPerspectiveTransform(corners, moved), (440, 140), borderMode=cv2.BORDER_REPLICATE)
        out.append(worn(rng, cv2.resize(plate, (96, 32), interpolation=cv2.INTER_AREA)))
    return out


def from_use(kind):
    """Crops that the float models cut: made by bench/crops.py in a folder of their own. The lines of three photographs are too few to calibrate
    with: drawn ones are added."""
    def pictures(judge, bench):
        import crops
        folder = bench.folder / f"{kind}-{judge}"
        folder.mkdir()
        made, pictures.drawn = getattr(crops, kind)(bench.omma_path, folder, judge, CROPS[judge])
        return made + lines(judge) if kind == "scene_lines" and judge == 0 else made
    return pictures


HALF = (127.5, 1 / 127.5, False)
Case = collections.namedtuple("Case", "model pictures prep detector threshold used", defaults=(0, False))
# (mean, scale, RGB) of the input; threshold of a detector's truth; crops as they come from use
CASES = {
    "yolov3-tiny": Case("yolov3-tiny", people, (0, 1 / 255, True), True, 0.25),
    "centerface": Case("centerface", faces, (0, 1, True), True, 0.3),
    "ppocr-rec": Case("ppocr-rec", lines, HALF, False),
    "plate-rec": Case("plate-rec", plates, HALF, False),
    "ppocr-scene": Case("ppocr-rec", from_use("scene_lines"), HALF, False, used=True),
    "plate-street": Case("plate-rec", from_use("street_plates"), HALF, False, used=True),
}


def tensor(path, mean, scale, rgb):
    import cv2
    import numpy as np
    pixels = cv2.imread(str(path))[..., ::-1 if rgb else 1].astype(np.float32)
    return np.ascontiguousarray(((pixels - np.float32(mean)) * np.float32(scale)).transpose(2, 0, 1)[None], np.float32)


# ---- models ----

class Bench:
    def __init__(self, build, folder):
        self.omma_path, self.folder = Path(build).resolve() / "omma", folder

    def omma(self, *args, check=True):
        done = subprocess.run([self.omma_path, *map(str, args)], capture_output=True, text=True)
        if check and done.returncode:
            raise SystemExit(f"{done.args}: {done.stderr.strip()[-600:]}")
        return done


def restate_shapes(model, size):
    """Shapes that the file states for its own size are another's now: those of a run take their place. Weights that older
    files list among their inputs too are no inputs: the others take them for what may change."""
    import numpy as np
    import onnxruntime as ort
    del model.graph.value_info[:]
    weights = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = session.run(None, {model.graph.input[0].name: np.zeros((1, 3, size[1], size[0]), np.float32)})
    for output, value in zip(model.graph.output, made):
        shape = output.type.tensor_type.shape
        del shape.dim[:]
        for n in value.shape:
            shape.dim.add().dim_value = n


def float_model(bench, name, work, size=None):
    """The float model of opset 13, as all three get it."""
    import onnx
    path = MODELS / f"{name}.onnx"
    if name == "yolov3-tiny":
        path = work / "imported.onnx"
        bench.omma("model", "import", MODELS / "yolov3-tiny.cfg", MODELS / "yolov3-tiny.weights", "-o", path)
    elif not path.exists():
        path = work / "made.onnx"
        bench.omma("model", "synth", name, "-o", path)
    model = onnx.load(path)
    old = model.opset_import[0].version
    if old < 13:
        from onnx import version_converter
        metas = list(model.metadata_props)
        model = version_converter.convert_version(model, 13)
        del model.metadata_props[:]
        model.metadata_props.extend(metas)
    if size:
        dims = model.graph.input[0].type.tensor_type.shape.dim
        for dim, n in zip(dims, (1, 3, size[1], size[0])):
            dim.Clear()
            dim.dim_value = n
        restate_shapes(model, size)
    out = work / "float.onnx"
    onnx.save(model, out)
    return out


def make_ours(bench, name, source, cal, out, size, *flags):
    bench.omma("quantize", source, "-o", out, "--calib", cal, "--frames", 1000, "--input-size", f"{size[0]}x{size[1]}", "-q",
               "--report", out.with_suffix(".json"), *flags, check=False)
    if not out.exists():
        raise SystemExit(f"{name}: omma quantize {' '.join(map(str, flags))} made nothing")


def make_ort(source, cal, prep, out, method):
    import onnx
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process
    prepared = out.with_suffix(".pre.onnx")
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    except Exception:  # its optimiser refuses some models; they are quantised as they are
        prepared = source
    name, count = onnx.load(source).graph.input[0].name, len(list(cal.glob("*.png")))

    class Reader(q.CalibrationDataReader):
        """In parts, as set_range() says: all tensors of a part's pictures are held at once."""
        def __init__(self):
            self.files = sorted(cal.glob("*.png"))
            self.set_range(0, len(self.files))

        def __len__(self):
            return len(self.files)

        def set_range(self, start_index, end_index):
            self.left = iter(self.files[start_index:end_index])

        def get_next(self):
            path = next(self.left, None)
            return {name: tensor(path, *prep)} if path else None

    q.quantize_static(str(prepared), str(out), Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True, reduce_range=True,
                      activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8, calibrate_method=method,
                      extra_options={"CalibStridedMinMax": max(d for d in range(1, PART + 1) if count % d == 0)})
    keep_metas(source, out)


def make_nncf(source, cal, prep, out):
    import nncf
    import onnx
    model = onnx.load(source)
    name = model.graph.input[0].name
    files = sorted(cal.glob("*.png"))
    made = nncf.quantize(model, nncf.Dataset(files, lambda path: {name: tensor(path, *prep)}), subset_size=len(files))
    onnx.save(made, out)
    keep_metas(source, out)


def keep_metas(source, out):
    """What the file says of itself, which the others leave out."""
    import onnx
    a, b = onnx.load(source), onnx.load(out)
    have = {m.key for m in b.metadata_props}
    b.metadata_props.extend(m for m in a.metadata_props if m.key not in have)
    onnx.save(b, out)


# ---- judging ----

def seen(bench, model, folder, size, detector):
    flags = ["--conf", 0.001] if detector else []
    if model.with_suffix(".txt").exists():
        flags += ["--alphabet", model.with_suffix(".txt")]
    out = bench.folder / "seen.json"
    bench.omma("detect", "-m", model, folder, "--json", out, "--precision", "f32", "--input-size", f"{size[0]}x{size[1]}", "-q", *flags)
    return [i["objects"] for i in json.loads(out.read_text())["images"]]


def overlap(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both) if both else 0


def agreement(truth, found, threshold):
    """COCO's AP50, a mean over classes; and how many boxes there are for truth."""
    import numpy as np
    scores, boxes = [], 0
    for kind in sorted({o["class_id"] for image in truth for o in image}):
        hits, total = [], 0
        for image_t, image_f in zip(truth, found):
            want = [o["box"] for o in image_t if o["class_id"] == kind and o["score"] >= threshold]
            total += len(want)
            free = set(range(len(want)))
            for o in sorted((o for o in image_f if o["class_id"] == kind), key=lambda o: -o["score"])[:100]:
                best = max(free, key=lambda k: overlap(o["box"], want[k]), default=None)
                hit = best is not None and overlap(o["box"], want[best]) >= 0.5
                if hit:
                    free.discard(best)
                hits.append((o["score"], hit))
        boxes += total
        if not total:
            continue
        hits.sort(key=lambda h: -h[0])
        right = np.cumsum([h for _, h in hits])
        recall, precision = right / total, right / np.arange(1, len(hits) + 1)
        for i in range(len(precision) - 1, 0, -1):
            precision[i - 1] = max(precision[i - 1], precision[i])
        at = np.searchsorted(recall, np.linspace(0, 1, 101))
        scores.append(float(np.mean([precision[k] if k < len(precision) else 0 for k in at])))
    return float(np.mean(scores)) if scores else float("nan"), boxes


def same_texts(truth, found):
    texts = [[[o.get("text", "").strip() for o in image] for image in side] for side in (truth, found)]
    asked = [i for i, t in enumerate(texts[0]) if t]
    return sum(texts[0][i] == texts[1][i] for i in asked) / max(len(asked), 1), len(asked)


def same_letters(truth, found):
    """The share of equal texts but for spaces."""
    texts = [["".join(o.get("text", "") for o in image).replace(" ", "") for image in side] for side in (truth, found)]
    asked = [i for i, t in enumerate(texts[0]) if t]
    return sum(texts[0][i] == texts[1][i] for i in asked) / max(len(asked), 1)


def read_right(truth, drawn):
    """The pictures on which the float model reads what was drawn there, but for spaces."""
    said = ["".join(o.get("text", "") for o in image).replace(" ", "") for image in truth]
    return [i for i, text in enumerate(drawn) if said[i] == text.replace(" ", "")]


def prepare(bench, name, check):
    """A case's folder with cal/, judge/ and, if asked for, check/, and their pictures' size; those of an earlier part are taken again."""
    import cv2
    case, work = CASES[name], bench.folder / name
    for part, judge in (("cal", 0), ("check", 2), ("judge", 1)):
        if (not check and judge == 2) or (work / part).exists():
            continue
        (work / part).mkdir(parents=True)
        for i, picture in enumerate(case.pictures(judge, bench) if case.used else case.pictures(judge)):
            cv2.imwrite(str(work / part / f"{i:04d}.png"), picture)
    height, width = cv2.imread(str(next((work / "judge").glob("*.png")))).shape[:2]
    return work, (width, height)


def accuracy(bench, name, ways):
    from onnxruntime.quantization import CalibrationMethod
    model, pictures, prep, detector, threshold, _ = CASES[name]
    work, size = prepare(bench, name, not detector and (not ways or "omma mixed" in ways))
    source, cal = float_model(bench, model, work, size), work / "cal"
    truth = seen(bench, source, work / "judge", size, detector)

    right = read_right(truth, pictures.drawn) if not detector and pictures.drawn else []

    def ours(*flags):
        return lambda out: make_ours(bench, name, source, cal, out, size, *flags)

    makers = {"omma mse": ours(),
              "onnxruntime minmax": lambda out: make_ort(source, cal, prep, out, CalibrationMethod.MinMax),
              "onnxruntime entropy": lambda out: make_ort(source, cal, prep, out, CalibrationMethod.Entropy),
              "nncf default": lambda out: make_nncf(source, cal, prep, out),
              **{f"omma {m}": ours("--method", m) for m in METHODS[1:]}, "omma layer-floor 36": ours("--layer-floor", 36),
              "omma mixed": ours("--mixed", "--floor", 0.99, *([] if detector else ["--check", work / "check"]))}
    makers = {how: make for how, make in makers.items() if not ways or how in ways}
    row = {"pictures": len(truth), "calibrated_with": len(list(cal.glob("*.png"))), "size": list(size), "scores": {}}
    for how, make in makers.items():
        out = work / f"{how.replace(' ', '-')}.onnx"
        try:
            make(out)
            found = seen(bench, out, work / "judge", size, detector)
        except (Exception, SystemExit) as e:  # one tool's refusal is a result too
            row["scores"][how] = None
            row.setdefault("failures", {})[how] = str(e)[-300:]
            print(f"{name:12} {how:20} failed: {str(e)[-200:]}", flush=True)
            continue
        value, row["truth"] = agreement(truth, found, threshold) if detector else same_texts(truth, found)
        if not detector:
            row.setdefault("scores_but_spaces", {})[how] = round(same_letters(truth, found), 4)
            row.setdefault("differ", {})[how] = [i for i in range(len(truth)) if same_texts(truth[i:i + 1], found[i:i + 1]) == (0, 1)]
        row["scores"][how] = round(value, 4)
        if how.startswith("omma"):
            row.setdefault("int8_share", {})[how] = json.loads(out.with_suffix(".json").read_text()).get("int8_share")
        if right:
            of_right, row["read_right"] = same_texts([truth[i] for i in right], [found[i] for i in right])
            row.setdefault("scores_read_right", {})[how] = round(of_right, 4)
            print(f"{name:12} {how:20} {of_right:.4f}  ({len(right)} texts that the float model reads as they were drawn)", flush=True)
        print(f"{name:12} {how:20} {value:.4f}  ({row['truth']} {'boxes' if detector else 'texts'} for truth)", flush=True)
    return row


# ---- where it comes from ----

def texts_in_floats(model, files, prep):
    """What a reader says, in numbers of its alphabet, spaces at the ends left out: ONNX Runtime, each operator by itself."""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 3, 2
    session, out = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]), []
    for path in files:
        [[scores]] = session.run(None, {session.get_inputs()[0].name: tensor(path, *prep)})
        best, space = scores.argmax(-1), scores.shape[-1] - 1
        said = [int(k) for i, k in enumerate(best) if k and (not i or k != best[i - 1])]
        while said and said[-1] == space:
            said.pop()
        while said and said[0] == space:
            said.pop(0)
        out.append(said)
    return out


PARTS = [(bits, part) for bits in (7, 8) for part in ("both", "weights", "activations") if (bits, part) != (8, "activations")]


def parts(bench, name):
    case = CASES[name]
    work, size = prepare(bench, name, False)
    source, files = float_model(bench, case.model, work, size), sorted((work / "judge").glob("*.png"))
    truth, out = texts_in_floats(source, files, case.prep), {}
    for bits, part in PARTS:
        how = part if part == "activations" else f"{part}, weights of {bits} bits" if part == "both" else f"weights of {bits} bits"
        made = work / "part.onnx"
        make_ours(bench, name, source, work / "cal", made, size, "--weight-bits", bits, "--parts", part)
        found = texts_in_floats(made, files, case.prep)
        out[how] = round(sum(t == f for t, f in zip(truth, found) if t) / sum(map(bool, truth)), 4)
        print(f"{name:12} {how:28} {out[how]:.4f}  ({sum(map(bool, truth))} texts, in floats)", flush=True)
    return out


def shortfalls(rows):
    out = []
    for name, row in rows.items():
        detector = CASES[name].detector
        if "omma mse" not in row["scores"]:
            continue
        ours, floor = row["scores"]["omma mse"], AP50 if detector else TEXTS
        theirs = [v for k, v in row["scores"].items() if not k.startswith("omma") and v is not None]
        if ours is None or ours < floor:
            out.append(f"{name}: {ours} is below {floor}")
        if ours is not None and theirs and ours < max(theirs):
            out.append(f"{name}: {ours} is below another's {max(theirs)}")
        if detector and row.get("truth", 0) < LEAST_BOXES:
            out.append(f"{name}: {row.get('truth')} boxes for truth, {LEAST_BOXES} are wanted")
    return out


# ---- speed ----

def speed(bench, name, rounds):
    """Milliseconds an inference, all in turn; the layers of ours that run in float."""
    import cv2
    import numpy as np
    import openvino as ov
    from onnxruntime.quantization import CalibrationMethod
    size, work = (640, 640), bench.folder / f"speed-{name}"
    cal = work / "cal"
    cal.mkdir(parents=True)
    for i, picture in enumerate(frames("bikes.mp4", 0, 9, 16, size)):
        cv2.imwrite(str(cal / f"{i:04d}.png"), picture)
    source = float_model(bench, name, work, size)
    prep = (0, 1 / 255, True)
    models = {"float": source}
    makers = {"omma": lambda out: make_ours(bench, name, source, cal, out, size),
              "onnxruntime": lambda out: make_ort(source, cal, prep, out, CalibrationMethod.MinMax),
              "nncf": lambda out: make_nncf(source, cal, prep, out)}
    for how, make in makers.items():
        models[how] = work / f"{how}.onnx"
        make(models[how])
    core = ov.Core()
    requests = {how: core.compile_model(str(m), "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
                for how, m in models.items()}
    x, times = tensor(cal / "0000.png", *prep), collections.defaultdict(list)
    import time
    for i in range(rounds + 2):
        for how, request in requests.items():
            begin = time.monotonic()
            request.infer({0: x})
            if i >= 2:
                times[how].append((time.monotonic() - begin) * 1e3)
    ms = {how: round(statistics.median(v), 2) for how, v in times.items()}
    profiled = core.compile_model(str(models["omma"]), "CPU", {"PERF_COUNT": True, "INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    least = {}
    for _ in range(10):
        profiled.infer({0: np.ascontiguousarray(x)})
        for p in profiled.profiling_info:
            us = p.real_time.total_seconds() * 1e6
            if us > 0:
                least[p.node_name] = (min(us, least.get(p.node_name, (us,))[0]), p.node_type, p.exec_type)
    total = sum(v[0] for v in least.values())
    islands = sorted(((us / total, kind, how, layer) for layer, (us, kind, how) in least.items() if how.lower().endswith("f32")), reverse=True)
    return {"ms": ms, "times_float": {k: round(ms["float"] / v, 3) for k, v in ms.items()},
            "float_share": round(sum(i[0] for i in islands), 4),
            "islands": [{"layer": i[3], "type": i[1], "exec": i[2], "share": round(i[0], 4)} for i in islands[:12]]}


def spent(*args):
    """Runs it: (processor seconds, MB at most). Of a process of its own, since a child's peak begins with its parent's memory."""
    watch = ("import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
             "if done.returncode: sys.exit(done.stderr[-300:])\n"
             "u = resource.getrusage(resource.RUSAGE_CHILDREN); print(u.ru_utime + u.ru_stime, u.ru_maxrss / 1024)")
    done = subprocess.run([sys.executable, "-c", watch, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{args[1]}: {done.stderr[-300:]}")
    cpu, peak = map(float, done.stdout.split())
    return cpu, round(peak, 1)


def calibration(bench, name):
    """Pictures a second while calibrating and while inferring; memory with 100 and with 1,000 pictures."""
    import cv2
    work = bench.folder / f"calibration-{name}"
    cal = work / "cal"
    cal.mkdir(parents=True)
    size = (416, 320)
    pictures = frames("vtest.avi", 0, 1, 700, size) + frames("bikes.mp4", 0, 1, 240, size) + frames("carphone_pristine.mp4", 0, 1, 380, size)
    for i, picture in enumerate(pictures[:1000]):
        cv2.imwrite(str(cal / f"{i:04d}.png"), picture)
    source = float_model(bench, name, work, size)
    rates, memory, cpu = {}, {}, {}
    for n in (100, 1000):
        cpu[n], memory[n] = spent(bench.omma_path, "quantize", source, "-o", work / "q.onnx", "--calib", cal, "--frames", n, "--report",
                                  work / "q.json", "-q")
        report = json.loads((work / "q.json").read_text())
        rates[n] = report["frames"] / report["seconds"]
    plain = json.loads(bench.omma("detect", "-m", source, *sorted(cal.glob("*.png"))[:200], "--json", "-", "-q", "--precision", "f32").stdout)
    t = plain["timings_ms"]
    inference = 1000 / (t["load"]["median"] + t["prep"]["median"] + t["infer"]["median"])
    return {"pictures_per_s": {str(k): round(v, 2) for k, v in rates.items()}, "inference_per_s": round(inference, 2),
            "share": round(rates[1000] / inference, 3), "cpu_s_a_picture": round((cpu[1000] - cpu[100]) / 900, 4), "peak_mb": {str(k): v for k, v in memory.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default=ROOT / "build")
    parser.add_argument("--only", help="names of models, joined by ','")
    for part in ("accuracy", "parts", "speed", "calibration"):
        parser.add_argument(f"--{part}", action="store_true", help=f"only this part and others named")
    parser.add_argument("--ways", help="of making int8 models, joined by ',': \"omma mse,nncf default\"")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--record", help="write the figures there")
    args = parser.parse_args()
    enter_venv()
    every = not (args.accuracy or args.parts or args.speed or args.calibration)
    only = args.only.split(",") if args.only else None
    record = {"machine": platform.processor() or platform.machine(), "cpus": os.cpu_count(),
              "vnni": "vnni" in Path("/proc/cpuinfo").read_text()}
    problems = []
    sys.path.insert(0, str(ROOT / "bench"))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args.build, Path(folder))
        if every or args.accuracy:
            record["accuracy"] = {n: accuracy(bench, n, args.ways and args.ways.split(",")) for n in CASES if not only or n in only}
            problems += shortfalls(record["accuracy"])
        if every or args.parts:
            record["parts"] = {n: parts(bench, n) for n, c in CASES.items() if not c.detector and (not only or n in only)}
        if every or args.speed:
            record["speed"] = {n: speed(bench, n, args.rounds) for n in ("yolov8n", "yolov5s") if not only or n in only}
            for name, row in record["speed"].items():
                print(f"{name}: " + ", ".join(f"{k} {v} ms" for k, v in row["ms"].items()))
                if row["ms"]["omma"] > min(row["ms"]["nncf"], row["ms"]["onnxruntime"]) * 1.02:
                    problems.append(f"{name}: slower than another's")
        if every or args.calibration:
            record["calibration"] = {n: calibration(bench, n) for n in ("yolov3-tiny",) if not only or n in only}
            for name, row in record["calibration"].items():
                print(f"{name}: calibrated at {row['share']:.0%} of plain inference, {row['peak_mb']} MB with 100 and 1,000 pictures")
                if row["share"] < 0.5:
                    problems.append(f"{name}: calibration at {row['share']:.0%} of plain inference")
                if row["peak_mb"]["1000"] > row["peak_mb"]["100"] * 1.1:
                    problems.append(f"{name}: memory grows with the pictures")
    record["problems"] = problems
    if args.record:
        Path(args.record).write_text(json.dumps(record, indent=1) + "\n")
    for p in problems:
        print("falls short:", p)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
