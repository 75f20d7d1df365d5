"""Pictures of text as they come from use: plates of the generated street and lines of photographs, found, straightened and cut by omma's
float models. For calibrating (0), judging (1) and checking (2): plates of other texts and ways; lines to judge of other photographs, and to
check of other views of those to calibrate."""
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / ".deps/models"
sys.path.insert(0, str(Path(__file__).parent))
import plates  # noqa: E402
import street  # noqa: E402

SEEN = 7  # frames of each vehicle, spread over its way
PLATES = (64, 160, 128)
LINES = {0: ("scenetext02", "scenetext03", "scenetext05"), 1: ("scenetext01", "scenetext04", "scenetext06"),
         2: ("scenetext02", "scenetext03", "scenetext05")}
VIEWS = {0: 10, 1: 26, 2: 30}  # of each photograph
LINE = (320, 48)
LEAST_SCORE = 0.5  # lines that PP-OCR keeps


def fitted(picture, size):
    """Brought to the height, padded at the right: as a reader of text gets it."""
    width, height = size
    inner = min(width, max(1, round(picture.shape[1] * height / picture.shape[0])))
    out = np.full((height, width, 3), 128, np.uint8)
    out[:, :inner] = np.round(cv2.resize(picture.astype(np.float32), (inner, height), interpolation=cv2.INTER_LINEAR))
    return out


def rows_of(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


# ---- plates ----

def draw_street(folder, seed, texts):
    """Videos of two streams in which a vehicle passes in few frames, so that many plates cost little; what their plates say."""
    rng, font = np.random.default_rng(seed), street.glyphs()
    texts, _ = street.readable(texts, rng, font, street.Reader(), street.INPUT)
    sprites, videos, was = [street.Sprite(*v) for v in street.VEHICLES], [], street.GAP
    street.GAP = 1
    try:
        for i in range(2):
            videos.append(folder / f"street{seed}-{i}.mp4")
            street.stream(np.random.default_rng([seed, i]), videos[-1], texts[i::2], sprites, street.BACKGROUNDS, font, (1280, 720), SEEN)
    finally:
        street.GAP = was
    return videos, {v.stem: texts[i::2] for i, v in enumerate(videos)}


def street_plates(omma, folder, part, most):
    """Up to 160 crops that the plate reader is asked for, vehicle, plate and straightening by the float models; what the plates say."""
    count = min(most, PLATES[part])
    videos, texts = draw_street(folder, 700 + part, -(-count * 5 // 3 // SEEN))
    flags, out = plates.chain(plates.vehicles_model(omma, folder), videos, "frame"), folder / f"street{part}.jsonl"
    subprocess.run([str(omma), "run", *flags, "-o", f"jsonl:{out}", "-q"], check=True, timeout=1700)
    wanted, crops, drawn = {}, [], []
    for stream, seq, quad, *_ in plates.crops(rows_of(out)):
        wanted.setdefault((stream, seq), []).append(quad)
    for path in videos:
        for k, planes in enumerate(plates.decoded(path, (1280, 720))):
            for quad in wanted.get((path.stem, k), []):
                crops.append(fitted(plates.straighten(planes, quad), street.INPUT))
                drawn.append(texts[path.stem][(k - 1) // (SEEN + 1)])  # a frame without a vehicle before each
        path.unlink()
    return crops[:count], drawn[:count]


# ---- lines ----

def seen_by_camera(rng, picture):
    """The photograph once more: a little nearer or farther, turned, brighter or darker, blurred, with noise."""
    h, w = picture.shape[:2]
    view = cv2.getRotationMatrix2D((w / 2, h / 2), rng.uniform(-3, 3), rng.uniform(0.75, 1))
    picture = cv2.warpAffine(picture, view, (w, h), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.9))
    return np.clip(picture * rng.uniform(0.7, 1.15) + rng.normal(0, rng.uniform(0, 6), picture.shape), 0, 255).astype(np.uint8)


def cut(picture, quad):
    q = np.float32(quad)
    width = int(max(np.linalg.norm(q[1] - q[0]), np.linalg.norm(q[2] - q[3])))
    height = int(max(np.linalg.norm(q[3] - q[0]), np.linalg.norm(q[2] - q[1])))
    view = cv2.getPerspectiveTransform(q, np.float32([[0, 0], [width, 0], [width, height], [0, height]]))
    return cv2.warpPerspective(picture, view, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def network_size(picture):
    """As PP-OCR's own code: the shorter side at least 736, both in whole 32s."""
    h, w = picture.shape[:2]
    ratio = max(1.0, 736 / min(h, w))
    return tuple(int(round(int(v * ratio) / 32) * 32) for v in (w, h))


def scene_lines(omma, folder, part, count):
    """Upright lines that PP-OCR's float models find in views of photographs and keep: their crops."""
    rng, crops = np.random.default_rng(800 + part), []
    rec = f"model={MODELS}/ppocr-rec.onnx,name=text,crop=quad,each=frame,budget=300"
    for name in LINES[part]:
        photo = cv2.imread(str(MODELS / f"pictures/{name}.jpg"))
        size, views, out = network_size(photo), {}, folder / f"{name}.jsonl"
        for k in range(VIEWS[part]):
            path = folder / f"{name}-{k}.png"
            views[path.stem] = seen_by_camera(rng, photo) if k or part == 2 else photo
            cv2.imwrite(str(path), views[path.stem])
        inputs = [flag for stem in views for flag in ("-i", str(folder / f"{stem}.png"))]
        subprocess.run([str(omma), "run", "-m", str(MODELS / "ppocr-det.onnx"), "--input-size", "%dx%d" % size, "--fit", "stretch", *inputs,
                        "--secondary", rec, "-o", f"jsonl:{out}", "-q"], check=True, timeout=1700)
        for row in sorted(rows_of(out), key=lambda r: r["stream"]):
            for o in row["objects"]:
                if o.get("text_score", 0) < LEAST_SCORE or len(o.get("text", "").strip()) < 2:
                    continue
                crop = cut(views[row["stream"]], o["quad"])
                if crop.shape[1] * LINE[1] <= LINE[0] * crop.shape[0] * 1.25 and crop.shape[0] < crop.shape[1]:
                    crops.append(fitted(crop, LINE))
    rng.shuffle(crops)
    return crops[:count], None
