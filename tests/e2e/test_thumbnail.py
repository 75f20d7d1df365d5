"""Thumbnails of the host device, opened with OpenCV and set beside the picture that ffmpeg scales from the same bytes."""
import subprocess

import cv2
import numpy as np
import pytest
from conftest import BUILD

# Our format, ffmpeg's.
FORMATS = {"nv12": "nv12", "i420": "yuv420p", "i422": "yuv422p", "i444": "yuv444p", "p010": "p010le", "i010": "yuv420p10le",
           "gray8": "gray", "rgb24": "rgb24", "bgr24": "bgr24"}
MATRIX = {"601": "bt601", "709": "bt709"}


def ffmpeg(*args):
    return subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *args], check=True, capture_output=True, timeout=60).stdout


@pytest.fixture(scope="session")
def picture(media, tmp_path_factory):
    """A real picture as PNG, of an even and of an odd size."""
    folder = tmp_path_factory.mktemp("thumbnail")

    def make(width, height):
        path = folder / f"{width}x{height}.png"
        if not path.exists():
            ffmpeg("-i", str(media / "vtest.avi"), "-frames:v", "1", "-vf", f"scale={width}:{height}:flags=lanczos", str(path))
        return path

    return make


def psnr(a, b):
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return 99 if error == 0 else 10 * np.log10(255**2 / error)


def thumbnail(tmp_path, fmt, raw, width, height, matrix, range_, fit, quality=92):
    source, out = tmp_path / "in.raw", tmp_path / "out.jpg"
    source.write_bytes(raw)
    command = [BUILD / "tests/unit/tool_thumbnail", fmt, f"{width}x{height}", matrix, range_, fit, str(quality), source, out]
    subprocess.run([str(c) for c in command], check=True, capture_output=True, timeout=60)
    return out.read_bytes()


SIZES = [((1280, 720), "709", "limited"), ((768, 576), "601", "limited"), ((641, 361), "601", "full")]
CASES = [(fmt, *SIZES[i % 3]) for i, fmt in enumerate(FORMATS)] + [("nv12", *SIZES[2]), ("i420", *SIZES[0])]


@pytest.mark.parametrize("fmt,size,matrix,range_", CASES)
def test_looks_like_ffmpegs(picture, tmp_path, fmt, size, matrix, range_):
    width, height = size
    if fmt == "gray8":
        matrix, range_ = "601", "full"  # as ffmpeg's gray is
    png = picture(width, height)
    color = f"scale=out_color_matrix={MATRIX[matrix]}:out_range={range_}:flags=accurate_rnd+full_chroma_int+area"
    raw = ffmpeg("-i", str(png), "-vf", color, "-pix_fmt", FORMATS[fmt], "-f", "rawvideo", "-")
    if width % 2 and fmt == "nv12":
        assert len(raw) == width * height + (width + 1) // 2 * 2 * ((height + 1) // 2)
    jpeg = thumbnail(tmp_path, fmt, raw, width, height, matrix, range_, "320x320")
    ours = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    h, w = ours.shape[:2]
    assert max(w, h) == 320 and abs(w / h - width / height) < 0.02
    want = np.frombuffer(ffmpeg("-i", str(png), "-vf", f"scale={w}:{h}:flags=area+accurate_rnd+full_chroma_int", "-pix_fmt",
                                "gray" if fmt == "gray8" else "bgr24", "-f", "rawvideo", "-"), np.uint8)
    if fmt == "gray8":
        ours = ours[:, :, 0]
    assert psnr(ours, want.reshape(ours.shape)) > 32


def test_quality_and_size(picture, tmp_path):
    raw = ffmpeg("-i", str(picture(1280, 720)), "-pix_fmt", "nv12", "-f", "rawvideo", "-")
    sizes = [len(thumbnail(tmp_path, "nv12", raw, 1280, 720, "709", "limited", "320x180", q)) for q in (10, 50, 95)]
    assert sizes == sorted(sizes) and sizes[0] * 4 < sizes[2]
    small = thumbnail(tmp_path, "nv12", raw[:64 * 36 * 3 // 2], 64, 36, "709", "limited", "320x180")
    assert cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR).shape == (36, 64, 3)  # not enlarged
