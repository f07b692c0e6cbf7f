"""A network as timm builds it: block strings by stage and keyword arguments, in a Python file that loads the weights.

timm rounds two widths otherwise than we do in places: a squeeze-and-excitation unit where the expanded channels are
rounded. Networks with such a block are refused. Written for timm 1.0 (``timm.models.efficientnet.EfficientNet``).
"""

from __future__ import annotations

import textwrap
from contextlib import suppress
from pathlib import Path

from scalesearch.arch import ArchSpec
from scalesearch.arch.cost import mid_channels, squeeze_channels
from scalesearch.errors import ExportError
from scalesearch.measure.trained import TrainedNetwork
from scalesearch.nn.layers import padding_of

_ACTIVATIONS = {"silu": "nn.SiLU", "relu": "nn.ReLU", "hardswish": "nn.Hardswish"}

_FILE = '''\
"""Builds this network in timm and loads its weights: ``from {module} import build``.

It takes images normalised by MEAN and STD, (N, 3, IMAGE_SIZE, IMAGE_SIZE), and gives logits (N, {num_classes}).
"""

from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from timm.models.efficientnet import EfficientNet, decode_arch_def
from torch import nn

IMAGE_SIZE = {image_size}
MEAN, STD = {mean}, {std}{unknown}
CLASS_NAMES = {class_names}
ARCH_DEF = [
{stages}
]
KEYWORDS = {{
{keywords}
}}


def build(weights=Path(__file__).with_name({weights})):
    network = EfficientNet(decode_arch_def(ARCH_DEF), **KEYWORDS)
{stem}    network.load_state_dict(load_file(weights), strict=True)
    return network.eval()
'''

_STEM = """\
    network.conv_stem.stride = (1, 1)  # timm's own is 2, and so it counts each reduction of feature_info double
"""


def write_timm_file(trained: TrainedNetwork, module: str, weights: str) -> str:
    """Return the Python file that builds a network in timm.

    Args:
        trained: It.
        module: Name of the file, for its docstring.
        weights: Name of the file of weights beside it.

    Raises:
        ExportError: timm builds another network of the same block strings.
    """
    arch, normalisation = trained.arch, trained.normalisation
    refuse_other_widths(arch)
    stages = (f"[{_text(stage.to_block())}]," for stage in arch.stages)
    return _FILE.format(
        module=module if module.isidentifier() else "the file",
        num_classes=trained.num_classes,
        image_size=arch.image_size,
        mean=normalisation.mean if normalisation else (0.0, 0.0, 0.0),
        std=normalisation.std if normalisation else (1.0, 1.0, 1.0),
        unknown="" if normalisation else "  # how the training images were normalised is not known",
        class_names=f"[{', '.join(map(_text, trained.class_names))}]",
        stages=textwrap.indent("\n".join(stages), " " * 4),
        keywords=textwrap.indent("\n".join(_keywords(trained)), " " * 4),
        weights=_text(weights),
        stem=_STEM if arch.stem_stride == 1 else "",
    )


def is_timm_file(path: Path) -> bool:
    """Say whether a file is one of ours, and so may be written anew."""
    with suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8").startswith(_FILE.partition("{")[0])
    return False


def refuse_other_widths(arch: ArchSpec) -> None:
    """Refuse a network that timm would build with other channels.

    Raises:
        ExportError: The first stage with such a block.
    """
    channels = arch.stem_channels
    for index, stage in enumerate(arch.stages):
        for in_channels in (channels, stage.out_channels)[: stage.num_blocks]:
            if not stage.se_ratio:
                continue
            is_plain = stage.block == "ds"
            mid = in_channels if is_plain else mid_channels(in_channels, stage.expand_ratio)
            theirs = round(mid * (stage.se_ratio / (1.0 if is_plain else stage.expand_ratio)))  # as timm reckons
            ours = squeeze_channels(in_channels, stage.se_ratio)
            if theirs != ours:
                raise ExportError(
                    f"timm cannot build this network: stage {index}, {stage.to_block()}, would have {theirs} squeezed"
                    f" channels behind {in_channels} in place of {ours}"
                )
        channels = stage.out_channels


def _keywords(trained: TrainedNetwork) -> list[str]:
    arch, network = trained.arch, trained.network
    return [
        f'"num_classes": {trained.num_classes},',
        f'"num_features": {arch.head_channels},',
        f'"stem_size": {arch.stem_channels},',
        '"fix_stem": True,',
        '"round_chs_fn": int,  # the channels are those of the strings',
        f'"output_stride": {max(32, 2 * arch.reduction)},  # never dilated',
        f'"pad_type": {_text("same" if padding_of(network) == "same" else "")},',
        f'"act_layer": {_ACTIVATIONS[arch.activation]},',
        f'"norm_layer": partial(nn.BatchNorm2d, eps={network.bn1.eps!r}),',
    ]


def _text(text: str) -> str:
    """Return a foreign text as a Python literal of ASCII, which can be nothing but a text."""
    return ascii(text)
