"""A trained network as its users meet it: pictures in, what they show out.

Every form that an export writes is of one of these modules, so all take the same input: float32 RGB in [0, 1],
``(N, 3, image_size, image_size)``. The training images' mean and deviation are taken off inside. Weights whose
normalisation is not known get their images as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from scalesearch.data.transforms import Normalisation
from scalesearch.detection.boxes.anchors import decode_boxes, flatten_outputs, make_anchors
from scalesearch.detection.boxes.decoding import DecodingConfig
from scalesearch.detection.nn.trained import TrainedDetector
from scalesearch.measure.trained import TrainedNetwork


class ClassifierModel(nn.Module):
    """Maps images to logits ``(N, num_classes)``.

    Attributes:
        network: The network itself, which takes normalised images.
        arch: Its architecture.
        class_names: Of each output; empty where they are not known.
        normalisation: Mean and deviation of the training images; None where they are not known.
        image_size: Pixels a side that it was trained at.
    """

    def __init__(self, trained: TrainedNetwork) -> None:
        super().__init__()
        self.arch, self.class_names, self.normalisation = trained.arch, trained.class_names, trained.normalisation
        self.image_size, self.num_classes = trained.arch.image_size, trained.num_classes
        self.normalise = _normalise(trained.normalisation)
        self.network = trained.network

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102 - said above
        logits: Tensor = self.network(self.normalise(images))
        return logits


class DetectorModel(nn.Module):
    """Maps images to a box for each anchor ``(N, A, 4)``, corners in pixels, and its scores ``(N, A, num_classes)``.

    Attributes:
        network: The detector itself, which takes normalised images.
        arch: Its spec.
        class_names: Of each label.
        category_ids: The data's own number of each label.
        normalisation: Mean and deviation of the training pictures.
        image_size: Pixels a side that it was trained at.
    """

    def __init__(self, trained: TrainedDetector) -> None:
        super().__init__()
        spec = trained.detector.spec
        self.arch, self.class_names, self.category_ids = spec, trained.class_names, trained.category_ids
        self.normalisation: Normalisation | None = trained.normalisation
        self.image_size, self.num_classes = spec.image_size, spec.num_classes
        self.normalise = _normalise(trained.normalisation)
        self.network = trained.detector
        self.anchors: Tensor
        self.register_buffer("anchors", make_anchors(spec), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102 - said above
        outputs = self.network(self.normalise(images))
        logits, offsets = (flatten_outputs(each, self.arch.num_anchors) for each in outputs)
        boxes = decode_boxes(offsets, self.anchors).clamp(0, self.image_size)
        return boxes, logits.sigmoid()


class BestBoxes(nn.Module):
    """Maps one image ``(1, 3, H, W)`` to boxes ``(D, 4)``, scores ``(D,)`` and labels ``(D,)``, the best first.

    The same as ``scalesearch.detection.boxes.decoding``, in operations that other runtimes have too. What has too low a
    score or no area is left out after suppression: a worse box never suppresses a better one.
    """

    def __init__(self, model: DetectorModel, config: DecodingConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: D102 - said above
        config, (all_boxes, all_scores) = self.config, self.model(image)
        num_classes = self.model.num_classes
        scores, places = all_scores[0].flatten().topk(min(config.max_candidates, all_scores[0].numel()))
        labels = places % num_classes
        boxes = all_boxes[0][places.div(num_classes, rounding_mode="floor")]
        apart = labels * (self.model.image_size + 1)  # boxes of two classes never overlap
        kept = nms(boxes + apart[:, None], scores, config.nms_iou)
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
        counts = (scores >= config.least_score) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        most = config.max_detections
        return boxes[counts][:most], scores[counts][:most], labels[counts][:most]


Model = ClassifierModel | DetectorModel


def build_model(trained: TrainedNetwork | TrainedDetector) -> Model:
    """Return a trained network as its users meet it, in eval mode."""
    model = ClassifierModel(trained) if isinstance(trained, TrainedNetwork) else DetectorModel(trained)
    return model.eval()


class _Normalise(nn.Module):
    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        # no part of the state dict: the weights keep timm's names, and the file's description has these
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(normalisation.std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def _normalise(normalisation: Normalisation | None) -> nn.Module:
    return nn.Identity() if normalisation is None else _Normalise(normalisation)
