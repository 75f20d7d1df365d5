"""Roboflow inference without its server: its InferencePipeline over the files, its ONNX Runtime class for YOLOv8."""
import json
import logging
import os
import shutil

os.environ.update(TELEMETRY_OPT_OUT="True", METRICS_ENABLED="False", OFFLINE_MODE="True",
                  ENABLE_FRAME_DROP_ON_VIDEO_FILE_RATE_LIMITING="False")
logging.disable(logging.WARNING)

import cv2
import torch
from inference_models.models.yolov8.yolov8_object_detection_onnx import YOLOv8ForObjectDetectionOnnx
from streamvision.stream.pipeline import InferencePipeline

from meter import CONF, IOU, MAX_BOXES, Meter, arguments

SIDE = 640


def package(onnx_path, work, batch):
    """The folder it loads a model from."""
    folder = work / "roboflow"
    folder.mkdir(exist_ok=True)
    shutil.copy(onnx_path, folder / "weights.onnx")
    (folder / "class_names.txt").write_text("\n".join(f"class{i}" for i in range(80)))
    size = dict(height=SIDE, width=SIDE)
    network_input = dict(training_input_size=size, dynamic_spatial_size_supported=False, color_mode="rgb",
                         resize_mode="letterbox", padding_value=114, input_channels=3, scaling_factor=255)
    (folder / "inference_config.json").write_text(json.dumps(dict(
        network_input=network_input, forward_pass=dict(max_dynamic_batch_size=batch),
        post_processing=dict(type="nms", fused=False))))
    return folder


def main():
    a = arguments()
    model = YOLOv8ForObjectDetectionOnnx.from_pretrained(
        str(package(a.model, a.work, len(a.clips))), onnx_execution_providers=["CPUExecutionProvider"],
        device=torch.device("cpu"))
    torch.set_num_threads(a.threads)

    def infer(images):
        inputs, meta = model.pre_process(images)
        return model.post_process(model.forward(inputs), meta, confidence=CONF, iou_threshold=IOU,
                                  max_detections=MAX_BOXES, class_agnostic_nms=False)

    frame = cv2.VideoCapture(a.clips[0]).read()[1]
    infer([frame] * len(a.clips))
    meter = Meter(a.csv)

    def sink(predictions, frames):
        if not isinstance(predictions, list):
            predictions, frames = [predictions], [frames]
        for p, f in zip(predictions, frames):
            if p is not None:
                rows = torch.cat([p.xyxy, p.confidence[:, None], p.class_id[:, None]], 1)
                meter.add(f.source_id, f.frame_id, rows.tolist())

    pipeline = InferencePipeline.init_with_custom_logic(
        video_reference=[str(c) for c in a.clips], on_video_frame=lambda frames: infer([f.image for f in frames]),
        on_prediction=sink)
    pipeline.start(use_main_thread=True)
    pipeline.join()
    meter.finish(a.result, f"{SIDE}x{SIDE}", "f32", ("inference-cpu", "inference-models", "onnxruntime", "torch"))


if __name__ == "__main__":
    main()
