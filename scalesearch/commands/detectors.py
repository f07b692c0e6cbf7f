"""Verbs that train, search and use detectors, and draw what came out."""

from __future__ import annotations

from pathlib import Path

from scalesearch.console import print_frame, say, say_written
from scalesearch.detection.boxes.matched import rank_pictures
from scalesearch.detection.data import BoxData, load_box_data
from scalesearch.detection.nn.trained import load_trained
from scalesearch.detection.predicting import PredictConfig
from scalesearch.detection.scoring import detect as detect_boxes
from scalesearch.detection.studies import DetectConfig, DetectScaleConfig, run_detect, run_detect_scale
from scalesearch.detection.studies.config import DetectorConfig
from scalesearch.report.detector_sections import GALLERY
from scalesearch.report.plot_detections import draw_mistakes, save_picture
from scalesearch.report.predictions import run_predict
from scalesearch.report.studies import write_report
from scalesearch.study.progress import StepsDisplay

_SHOWN = 8
"""Pictures of the gallery: half of them those with the most mistakes, the others spread over the rest."""


def detect(config: DetectConfig) -> None:
    """Train detectors, necks and sizes side by side, and score them by COCO's average precision."""
    result = run_detect(config)
    # what fits into a row of a terminal or a log; detect.csv has the rest
    columns = ["detector", "image_size", "params", "macs", "latency_ms", "val_ap", "val_ap_se", "val_ap50"]
    columns += ["val_ap_small", "val_ap_large", "test_ap", "num_seeds"]
    print_frame(result.table[columns].dropna(axis="columns", how="all"), f"Detectors, {config.seeds} seeds each")
    best = result.table.set_index("arch_id").loc[result.best.arch_id]
    say(f"Highest mean AP {best.val_ap:.3f}, AP50 {best.val_ap50:.3f}: {result.best.blocks}")
    tables = (config.folder.table("detect"), config.folder.table("detect-classes"))
    _conclude(config, result.checkpoint, config.chosen, *tables)


def detect_scale(config: DetectScaleConfig) -> None:
    """Search neck, heads and image size of a detector under a budget."""
    result = run_detect_scale(config)
    say(
        f"Detector {result.best.arch_id}: AP {result.score.val_ap:.3f}, AP50 {result.score.val_ap50:.3f} on val,"
        f" {result.cost.macs:,} macs, {result.cost.params:,} params, {result.num_scored} detectors scored"
    )
    say(f"  {result.best.blocks}")
    _conclude(config, result.checkpoint, config.folder.detector)


def predict(config: PredictConfig) -> None:
    """Write the boxes a trained detector finds in pictures, as COCO json and drawn."""
    with StepsDisplay() as display:
        result = run_predict(config, on_picture=display)
    say(f"{result.describe()}.")
    say_written(*result.files)


def _conclude(config: DetectorConfig, checkpoint: Path | None, *written: Path) -> None:
    """Draw the frontier, and the detections and misses of the chosen detector."""
    drawn = [] if checkpoint is None else [checkpoint, _draw_gallery(config, checkpoint)]
    report = write_report(config.folder, config.storage)
    say_written(*written, *drawn, *report.files)


def _draw_gallery(config: DetectorConfig, checkpoint: Path) -> Path:
    trained = load_trained(checkpoint)
    data: BoxData = load_box_data(config.data, warns=False)
    detector = trained.detector
    found = detect_boxes(detector, detector.spec, data.val, trained.normalisation, config=config.decoding)
    ranked = rank_pictures(found, data.val)
    worst, others = ranked[: _SHOWN // 2], ranked[_SHOWN // 2 :]
    spread = others[:: max(1, len(others) // (_SHOWN - len(worst)))][: _SHOWN - len(worst)]
    title = f"{config.study}: {len(worst)} pictures of val with the most mistakes, {len(spread)} of the others"
    sheet = draw_mistakes(data.val, [*worst, *spread], data.class_names, num_columns=4, title=title)
    return save_picture(sheet, config.folder.root / f"{GALLERY}.png")
