"""Training of a detector: one loop, explicit.

Deterministic on the CPU as the training of classes is: the same seed, thread count and torch version give the same
weights bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from scalesearch.data.endless import EndlessBatches
from scalesearch.detection.boxes.anchors import flatten_outputs, make_anchors
from scalesearch.detection.boxes.loss import BOX_LOSSES, detection_loss
from scalesearch.detection.boxes.matching import Matches, match_anchors
from scalesearch.detection.data.augmentation import BoxAugmentation
from scalesearch.detection.data.batches import BoxBatch, box_batches
from scalesearch.detection.data.sample import BoxData
from scalesearch.detection.nn.detector import Detector
from scalesearch.errors import ConfigError
from scalesearch.measure.optimisation import Optimisation, OptimisationConfig, check_range
from scalesearch.measure.steps import Callbacks, FitInfo, take_steps


@dataclass(kw_only=True, slots=True)
class DetectorTrainConfig(OptimisationConfig):
    """How a detector is trained; with ``OptimisationConfig`` the schema of ``train.*`` on the command line.

    Attributes:
        box_loss: ``huber`` of the offsets, or ``ciou``, the complete overlap.
        drop_path: Of the backbone's last block; earlier blocks linearly less.
        bn_momentum: Weight of the newest batch in BatchNorm's running statistics. EfficientDet's 0.01 is for long
            trainings: few steps leave the statistics where they began.
        frozen_backbone: Keep the backbone's weights and its BatchNorm's statistics, as those of a pretrained one.
        augmentation: Of the training images.
    """

    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    batch_size: int = 8
    steps: int | None = 600
    ema_decay: float = 0.99
    clip_norm: float = 10.0
    box_loss: str = "huber"
    drop_path: float = 0.0
    bn_momentum: float = 0.05
    frozen_backbone: bool = False
    augmentation: BoxAugmentation = field(default_factory=BoxAugmentation)

    def __post_init__(self) -> None:
        OptimisationConfig.__post_init__(self)  # super() does not find its class through slots
        check_range("drop_path", self.drop_path, least=0, below=1)
        check_range("bn_momentum", self.bn_momentum, above=0)
        if self.box_loss not in BOX_LOSSES:
            raise ConfigError(f"train.box_loss must be one of {', '.join(BOX_LOSSES)}, got {self.box_loss!r}")


def fit_detector(
    detector: Detector,
    data: BoxData,
    config: DetectorTrainConfig,
    *,
    device: str = "cpu",
    callbacks: Callbacks = Callbacks(),
) -> FitInfo:
    """Train ``detector`` in place and leave the weights to be evaluated in it.

    Randomness is drawn from torch's global generator, which the caller seeds.

    Args:
        detector: Trained at the image size of its spec.
        data: Its train split is learnt from.
        config: Budget, optimiser, augmentation.
        device: ``cpu`` or ``cuda``, with an index where there are several.
        callbacks: What looks on; at a rung it is given the detector as it would be evaluated.

    Raises:
        ConfigError: A batch is one image, and the coarsest level one cell: BatchNorm has nothing to normalise by.
        DivergenceError: A loss is not finite.
    """
    num_steps, spec = config.num_steps(len(data.train)), detector.spec
    if min(config.batch_size, len(data.train)) * spec.sizes[-1] == 1:
        raise ConfigError(
            f"train.batch_size must be at least 2 where level {spec.max_level} is a single cell, at image_size"
            f" {spec.image_size}; got {config.batch_size}, of {len(data.train)} training pictures"
        )
    detector.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    if config.frozen_backbone:
        detector.backbone.requires_grad_(requires_grad=False).eval()
    anchors = make_anchors(spec).to(device)
    optimisation = Optimisation(detector, config, num_steps, device)

    def loss_of(batch: BoxBatch) -> Tensor:
        images = batch.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        matches = _match(anchors, batch)
        with optimisation.autocast():
            outputs = detector(images)
        logits, offsets = (flatten_outputs(each, spec.num_anchors).float() for each in outputs)
        return detection_loss(logits, offsets, anchors, matches, box_loss=config.box_loss).total

    batches = _endless(data, config, spec.image_size)
    return take_steps(batches, loss_of, optimisation, num_steps, device=device, callbacks=callbacks)


def _endless(data: BoxData, config: DetectorTrainConfig, image_size: int) -> EndlessBatches[BoxBatch]:
    return EndlessBatches(
        lambda first: box_batches(
            data.train,
            data.normalisation,
            batch_size=min(config.batch_size, len(data.train)),
            image_size=image_size,
            augmentation=config.augmentation,
            shuffle=True,
            drop_last=True,
            first=first,
        )
    )


def _match(anchors: Tensor, batch: BoxBatch) -> list[Matches]:
    device = anchors.device
    return [
        match_anchors(anchors, boxes.to(device), labels.to(device))
        for boxes, labels in zip(batch.boxes_xyxy, batch.labels, strict=True)
    ]
