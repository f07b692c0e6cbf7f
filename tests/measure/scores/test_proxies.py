"""Zero-cost proxies: each against a calculation by hand, and what does and does not change them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalesearch.arch import ArchSpec, network_cost, scale_arch
from scalesearch.arch.scaling import ScalingFactors
from scalesearch.data import DataConfig, load_data
from scalesearch.errors import DataError, DivergenceError
from scalesearch.measure.scores import Job, ScoreConfig
from scalesearch.measure.scores.config import PROXIES
from scalesearch.measure.scores.proxies import proxy_score, scoring
from scalesearch.measure.scores.proxies.gradients import grad_norm, layer_gradients, zico
from scalesearch.measure.scores.proxies.patterns import naswot, pattern_kernel
from scalesearch.measure.scores.proxies.synflow import synflow
from scalesearch.measure.training import TrainConfig
from scalesearch.nn import build_network

ARCH = ArchSpec.from_blocks(
    ["ds_r1_k3_s2_c8", "ir_r2_k3_s1_e2_c8_se0.25"], stem_channels=8, head_channels=16, image_size=16, stem_stride=1
)
JOB = Job(
    arch=ARCH,
    seed=3,
    data=DataConfig(patches_per_class=8, eval_patches_per_class=3, stored_size=16),
    train=TrainConfig(steps=4),
)
DRAWN = ("synflow", "naswot", "zico", "grad_norm")


JobFor = Callable[..., Job]


@pytest.fixture(scope="module")
def job_for(tmp_path_factory: pytest.TempPathFactory) -> JobFor:
    """Return a maker of jobs that decode the images once."""
    cache = tmp_path_factory.mktemp("cache")

    def make(proxy: str, **changes: object) -> Job:
        return replace(JOB, cache=cache, score=ScoreConfig(method="proxy", proxy=proxy), **changes)

    return make


@pytest.fixture
def images() -> Tensor:
    return torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network(ARCH, 5)


@pytest.mark.parametrize("proxy", PROXIES)
def test_every_proxy_is_finite_the_same_for_one_seed_and_all_that_a_score_holds(proxy: str, job_for: JobFor) -> None:
    torch.manual_seed(99)
    steps: list[tuple[int, int]] = []
    score = proxy_score(job_for(proxy), lambda done, total: steps.append((done, total)))
    torch.manual_seed(98)
    assert proxy_score(job_for(proxy)).proxy == score.proxy
    assert math.isfinite(score.proxy)
    assert score.worth == score.proxy
    assert set(score.to_dict()) == {"latency_ms", "latency_p90_ms", "train_seconds", "steps", "proxy"}
    assert (score.train_seconds, score.steps) == (0.0, 0)
    assert steps == [(1, 1)]


@pytest.mark.parametrize("proxy", DRAWN)
def test_another_seed_is_another_value(proxy: str, job_for: JobFor) -> None:
    assert proxy_score(job_for(proxy, seed=4)).proxy != proxy_score(job_for(proxy)).proxy


def test_params_and_macs_are_the_closed_form_with_the_classes_of_the_data(job_for: JobFor) -> None:
    cost = network_cost(ARCH, num_classes=load_data(JOB.data, job_for("macs").cache).num_classes)
    assert proxy_score(job_for("params")).proxy == cost.params
    assert proxy_score(job_for("macs")).proxy == cost.macs


def test_only_proxies_that_look_at_images_change_with_the_images(job_for: JobFor) -> None:
    other = replace(JOB.data, max_train_images=60)
    changed = {
        name for name in PROXIES if proxy_score(job_for(name, data=other)).proxy != proxy_score(job_for(name)).proxy
    }
    assert changed == {"naswot", "zico", "grad_norm"}


def test_every_architecture_meets_the_same_images(job_for: JobFor) -> None:
    jobs = job_for("naswot"), job_for("naswot", arch=replace(ARCH, head_channels=64))
    train = load_data(JOB.data, jobs[0].cache).train
    [one], [other] = (scoring.draw_batches(train, job, 1, 8) for job in jobs)
    assert torch.equal(one[0], other[0])
    assert len(set(one[1].tolist())) > 1  # shuffled: the first images of the split are of one class


def test_the_batches_of_a_small_split_differ_and_too_small_a_split_is_refused() -> None:
    class Five:
        def __len__(self) -> int:
            return 5

        def batches(self, *, batch_size: int, **_: object) -> list[tuple[Tensor, Tensor]]:
            order = torch.randperm(5)[: 5 - 5 % batch_size]
            return [(rows.float(), rows) for rows in order.split(batch_size)]

    batches = scoring.draw_batches(Five(), JOB, 2, 32)
    assert len({int(label) for _, labels in batches for label in labels}) == 4
    with pytest.raises(DataError, match=r"at least 4 training images, got 3$"):
        scoring.draw_batches(range(3), JOB, 1, 64)


@pytest.mark.parametrize(
    "read",
    [
        grad_norm,
        lambda net, batch: zico(net, [batch, batch]),
        lambda net, batch: naswot(net, batch[0]),
        lambda net, _: synflow(net, (3, 16, 16)),
    ],
)
def test_a_proxy_leaves_the_network_as_it_was(read: Callable[..., float], network: nn.Module, images: Tensor) -> None:
    before = copy.deepcopy(network.state_dict())
    network.eval()
    read(network, (images, torch.arange(8) % 5))
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


def test_synflow_is_the_sum_over_weights_calculated_by_hand() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=True), nn.BatchNorm2d(2), nn.SiLU(), nn.Linear(2, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        network[3].weight.copy_(torch.tensor([[-5.0, 6.0]]))
        network[0].bias.fill_(7.0)
    # R = 5 (1 + 2) + 6 (3 + 4) = 57; each of the two layers' sums of w dR/dw is R again
    assert synflow(network, (2,)) == pytest.approx(math.log(2 * 57))


def test_synflow_is_not_changed_by_signs_nor_by_dividing_blocks(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = synflow(network, (3, 16, 16))
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(torch.randint(0, 2, weight.shape) * 2 - 1)
    assert synflow(network, (3, 16, 16)) == pytest.approx(value)
    monkeypatch.setattr("scalesearch.measure.scores.proxies.synflow._rescale_blocks", lambda network: [])
    assert synflow(network, (3, 16, 16)) == pytest.approx(value)


def test_synflow_does_not_see_squeeze_and_excitation_nor_the_activation() -> None:
    blocks = ["ir_r1_k3_s2_e2_c8_se0.25"]
    values = []
    for activation, ratio in (("silu", 1.0), ("relu", 1.0), ("silu", -9.0)):
        torch.manual_seed(0)
        network = build_network(ArchSpec.from_blocks(blocks, activation=activation, image_size=16), 5)
        network.blocks[0][0].se.conv_expand.weight.data.mul_(ratio)
        values.append(synflow(network, (3, 16, 16)))
    assert values[0] == values[1] == values[2]


def test_synflow_of_a_flow_beyond_float64_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    arch = ArchSpec.from_blocks(["ir_r12_k3_s1_e2_c8_noskip"], stem_channels=8, head_channels=16, image_size=4)
    torch.manual_seed(0)
    network = build_network(arch, 5)
    value = synflow(network, (3, 4, 4))
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1e10)
    # stem, 12 blocks of 3 layers, head and classifier: the flow is linear in each
    assert synflow(network, (3, 4, 4)) == pytest.approx(value + (1 + 12 * 3 + 2) * math.log(1e10))
    monkeypatch.setattr("scalesearch.measure.scores.proxies.synflow._rescale_blocks", lambda network: [])
    assert not math.isfinite(synflow(network, (3, 4, 4)))


def test_naswot_is_the_log_determinant_of_the_agreements_counted_one_by_one(images: Tensor) -> None:
    torch.manual_seed(0)
    convolution, act = nn.Conv2d(3, 2, 3), nn.SiLU(inplace=True)
    network = nn.Sequential(convolution, act)
    patterns = (convolution(images) > 0).flatten(1).tolist()
    kernel = [[sum(a == b for a, b in zip(one, two, strict=True)) for two in patterns] for one in patterns]
    assert pattern_kernel(network, images).tolist() == kernel
    expected = float(torch.linalg.slogdet(torch.tensor(kernel, dtype=torch.float64)).logabsdet)
    assert naswot(network, images) == pytest.approx(expected)


def test_naswot_of_two_identical_images_is_no_score(network: nn.Module, images: Tensor) -> None:
    assert math.isfinite(naswot(network, images))
    images[5] = images[2]
    with pytest.raises(DivergenceError, match="the activation patterns of 8 images do not tell all of them apart"):
        naswot(network, images)


def test_grad_norm_is_the_sum_of_what_backward_leaves_in_each_layer(network: nn.Module, images: Tensor) -> None:
    targets = torch.arange(8) % 5
    value = grad_norm(network, (images, targets))
    network.train()
    F.cross_entropy(network(images), targets).backward()
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert value == pytest.approx(sum(float((layer.weight.grad**2).sum().sqrt()) for layer in layers), rel=1e-5)
    assert len(layers) == 1 + 2 + 2 * 5 + 1 + 1  # stem, ds, two ir with squeeze-and-excitation, head, classifier


def test_zico_is_the_formula_of_the_paper_on_the_gradients_of_the_batches(network: nn.Module, images: Tensor) -> None:
    batches = [(images[:4], torch.arange(4)), (images[4:], torch.arange(4))]
    by_layer = zip(*(layer_gradients(network, batch) for batch in batches), strict=True)
    expected = 0.0
    for one, two in by_layer:
        # of two values the mean of absolutes is (|a| + |b|) / 2 and the deviation |a - b| / 2
        a, b = one.double(), two.double()
        moves = a != b
        expected += math.log(float(((a.abs() + b.abs())[moves] / (a - b).abs()[moves]).sum()))
    assert zico(network, batches) == pytest.approx(expected)


def test_zico_counts_no_weight_whose_gradient_never_changes(network: nn.Module, images: Tensor) -> None:
    batch = (images, torch.arange(8) % 5)
    assert zico(network, [batch, batch]) == 0.0


@pytest.mark.parametrize("proxy", DRAWN)
def test_weights_that_are_not_numbers_are_no_score(
    proxy: str, job_for: JobFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_broken(*args: object, **kwargs: object) -> nn.Module:
        network = build_network(*args, **kwargs)
        nn.init.constant_(network.conv_stem.weight, math.nan)
        return network

    monkeypatch.setattr(scoring, "build_network", build_broken)
    with pytest.raises(DivergenceError, match=proxy):
        proxy_score(job_for(proxy))


@pytest.mark.parametrize("proxy", ["naswot", "synflow"])
def test_a_much_larger_network_scores_higher(proxy: str, job_for: JobFor) -> None:
    larger = scale_arch(ARCH, ScalingFactors(alpha=2.0, beta=2.0, gamma=1.0), 1.0)
    assert proxy_score(job_for(proxy, arch=larger)).proxy > proxy_score(job_for(proxy)).proxy
