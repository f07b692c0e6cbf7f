"""One network that holds weights for every network of a search space.

For each layer of the space it keeps one tensor, as large as the largest network wants it. A smaller network takes the
leading channels of it (elastic width, expansion, squeeze-and-excitation), the middle of its kernel (there is no
learned transformation between kernel sizes, as once-for-all has one), and a stage's first blocks (elastic depth).
Blocks of another type or stride share nothing and have tensors of their own; with and without squeeze-and-excitation
or skip, and at any image size, stem stride or activation, the convolutions are the same ones.

A network runs by a ``Network`` without weights, into which the parts are put: there is no second forward pass.
BatchNorm uses the statistics of the batch, in training and evaluation: running ones would mix all networks. Hence a
network that was taken out needs its statistics estimated before it is evaluated.

Papers: Cai et al. 2020 (once-for-all, arXiv 1908.09791); Yu et al. 2020 (BigNAS, arXiv 2003.11142), section 3.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from scalesearch.arch.space import SearchSpace
from scalesearch.arch.spec import ArchSpec, StageSpec
from scalesearch.nn.elastic import block_kind, frame_of, lay_slots, list_frames, place_stages
from scalesearch.nn.layers import BLOCKS, LayerStyle, init_weights
from scalesearch.nn.network import Network, build_network


class Supernet(nn.Module):
    """The weights of a space's networks, drawn as EfficientNet does from torch's global generator.

    Args:
        space: The search space.
        num_classes: Outputs of the classifier.
        dropout: Rate before the classifier, in [0, 1).
        drop_path: Rate the last block of each network approaches, in [0, 1).

    Example:
        >>> space = SearchSpace.load("nas_bench_macro")
        >>> supernet = Supernet(space, num_classes=10)
        >>> arch = ArchSpec.from_blocks(
        ...     ["cn_r1_k1_s2_c64", "cn_r1_k1_s2_c128", "ir_r1_k3_s2_e3_c256"],
        ...     stem_channels=32, head_channels=1280, image_size=32, stem_stride=1, activation="relu")
        >>> supernet(torch.zeros(2, 3, 32, 32), arch).shape
        torch.Size([2, 10])
    """

    def __init__(self, space: SearchSpace, num_classes: int, *, dropout: float = 0.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.space, self.num_classes = space, num_classes
        self.dropout, self.drop_path = dropout, drop_path
        self._slots, self._frames = lay_slots(space), frozenset(list_frames(space))
        stem_channels, head_channels = self._slots[0].in_channels, max(frame.head_channels for frame in self._frames)
        style = LayerStyle()
        self.conv_stem = style.conv(3, stem_channels, 3)
        self.bn1 = style.norm(stem_channels)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {kind: _build_blocks(stage, slot.in_channels, style) for kind, stage in slot.largest_stages().items()}
            )
            for slot in self._slots
        )
        self.conv_head = style.conv(self._slots[-1].out_channels, head_channels)
        self.bn2 = style.norm(head_channels)
        self.classifier = nn.Linear(head_channels, num_classes)
        self.apply(init_weights)
        self.apply(_drop_statistics)

    def forward(self, images: Tensor, arch: ArchSpec) -> Tensor:
        """Map images (N, 3, H, W) of any size to the logits (N, num_classes) of one network.

        Raises:
            SpaceError: The space does not hold ``arch``.
        """
        skeleton = _build_skeleton(arch, self.num_classes, self.dropout, self.drop_path).train(self.training)
        logits: Tensor = functional_call(skeleton, self.weights(arch), (images,), tie_weights=False)
        return logits

    def weights(self, arch: ArchSpec) -> dict[str, Tensor]:
        """Return the parameters of one network by their names in ``Network``, as views of this one's.

        Raises:
            SpaceError: The space does not hold ``arch``.
        """
        prefixes = self._prefixes(arch)
        skeleton = _build_skeleton(arch, self.num_classes, self.dropout, self.drop_path)
        weights = {}
        for name, parameter in skeleton.named_parameters():
            part, stage, rest = (*name.split(".", 2), "")[:3]
            source = f"{prefixes[int(stage)]}.{rest}" if part == "blocks" else name
            weights[name] = crop(self.get_parameter(source), parameter.shape)
        return weights

    def extract(self, arch: ArchSpec) -> Network:
        """Return a network of its own with a copy of the weights, and BatchNorm statistics that know no image yet.

        It has no dropout and no drop path. The caller's random state is left as it was.

        Raises:
            SpaceError: The space does not hold ``arch``.
        """
        weights = self.weights(arch)
        with torch.random.fork_rng(devices=[]):
            network = build_network(arch, self.num_classes).to(self.classifier.weight.device)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name])
        return network

    def _prefixes(self, arch: ArchSpec) -> list[str]:
        """Return where the blocks of each stage of ``arch`` lie in this module."""
        slots = place_stages(self._slots, arch.stages) if frame_of(arch) in self._frames else None
        if slots is None:
            self.space.encode(arch)
            raise AssertionError("the space holds what the supernet does not")
        return [f"blocks.{slot}.{block_kind(stage)}" for slot, stage in zip(slots, arch.stages, strict=True)]


def crop(weight: Tensor, shape: torch.Size) -> Tensor:
    """Return the part of a parameter that a smaller layer uses, as a view.

    The leading channels, which are the first two axes, and the middle of a kernel, which are the others.

    Example:
        >>> crop(torch.arange(50).view(2, 1, 5, 5), torch.Size([1, 1, 3, 3]))[0, 0, 0].tolist()
        [6, 7, 8]
    """
    for axis, (length, wanted) in enumerate(zip(weight.shape, shape, strict=True)):
        if length != wanted:
            weight = weight.narrow(axis, (length - wanted) // 2 if axis >= 2 else 0, wanted)
    return weight


def _build_blocks(stage: StageSpec, in_channels: int, style: LayerStyle) -> nn.ModuleList:
    widths = [in_channels] + [stage.out_channels] * (stage.num_blocks - 1)
    return nn.ModuleList(BLOCKS[stage.block](stage, width, stage.stride, style) for width in widths)


# Building one takes milliseconds; the largest and the smallest network come again in each step of a training.
@lru_cache(maxsize=64)
def _build_skeleton(arch: ArchSpec, num_classes: int, dropout: float, drop_path: float) -> Network:
    """Return a network without weights, whose BatchNorm always uses the statistics of the batch."""
    with torch.device("meta"):
        network = Network(arch, LayerStyle(arch.activation), num_classes, dropout=dropout, drop_path=drop_path)
    network.apply(_drop_statistics)
    return network


def _drop_statistics(module: nn.Module) -> None:
    if isinstance(module, nn.BatchNorm2d):
        module.track_running_stats = False
        module.running_mean = module.running_var = module.num_batches_tracked = None
