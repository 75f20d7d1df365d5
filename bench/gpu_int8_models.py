#!/usr/bin/env python3
"""Models for `scripts/gpu-bench cpu-int8`: detectors of random weights in float and as omma, onnxruntime and NNCF quantise them.

    bench/gpu_int8_models.py OUT [--build DIR] [NAME...]     default: yolov8n yolov5s; NAME.onnx and NAME-WAY.onnx of 640x640

For a processor with VNNI or AMX: ours has weights of 8 bits. They are made on any machine and carried to the one that is measured;
nothing is judged here, so few pictures and no fitting of rounding will do. Needs what bench/quant.py needs.
"""
import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import quant

SIZE = (640, 640)


def main():
    if Path(sys.prefix) != quant.VENV:
        if not (quant.VENV / "stamp").exists():
            raise SystemExit(f"{quant.VENV}: not there; bench/quant.py makes it")
        python = str(quant.VENV / "bin/python")
        os.execv(python, [python, __file__, *sys.argv[1:]])
    import cv2
    from onnxruntime.quantization import CalibrationMethod
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", default=["yolov8n", "yolov5s"])
    parser.add_argument("--build", default=quant.ROOT / "build")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bench, cal = quant.Bench(Path(args.build), work), work / "cal"
        cal.mkdir()
        for i, picture in enumerate(quant.frames("bikes.mp4", 0, 9, 16, SIZE)):
            cv2.imwrite(str(cal / f"{i:04d}.png"), picture)
        for name in args.names:
            source, prep = quant.float_model(bench, name, work, SIZE), (0, 1 / 255, True)
            makers = {"omma": lambda out: quant.make_ours(bench, name, source, cal, out, SIZE, "--weight-bits", "8", "--no-fit-rounding"),
                      "onnxruntime": lambda out: quant.make_ort(source, cal, prep, out, CalibrationMethod.MinMax),
                      "nncf": lambda out: quant.make_nncf(source, cal, prep, out)}
            shutil.copy(source, args.out / f"{name}.onnx")
            for way, make in makers.items():
                made = work / f"{name}-{way}.onnx"
                make(made)
                shutil.copy(made, args.out / made.name)
                print(made.name, made.stat().st_size, flush=True)


if __name__ == "__main__":
    sys.exit(main())
