"""The training loop: the same weights each time, and nothing left changed around it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from harness import PreparationError, Training
from harness.techniques.training import train
from harness.testing import tiny_torch_model
from tests.torch_networks import weights

TINY = tiny_torch_model(channels=4, trained=False)


def training(**changes: object) -> Training:
    assert TINY.training is not None
    return dataclasses.replace(TINY.training(), epochs=1, **changes)


def test_it_gives_the_same_weights_each_time() -> None:
    networks = [TINY.load(), TINY.load()]
    for seed, network in enumerate(networks):
        torch.manual_seed(seed)  # the state of the caller's generator must not matter
        train(network, training())
    assert torch.equal(weights(networks[0]), weights(networks[1]))
    assert not torch.equal(weights(networks[0]), weights(TINY.load()))


def test_batches_that_draw_from_numpy_or_random_are_the_same_each_time() -> None:
    def batches(epoch: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        for inputs, labels in training().batches(epoch):
            rows = [*np.random.permutation(32)[:8], *random.sample(range(32), 8)]
            yield {"image": inputs["image"][rows]}, labels[rows]

    networks = [TINY.load(), TINY.load()]
    for seed, network in enumerate(networks):
        random.seed(seed)
        np.random.seed(seed)
        train(network, training(batches=batches))
        drawn, wanted = (random.random(), np.random.random()), (random.Random(seed), np.random.RandomState(seed))
        assert drawn == tuple(one.random() for one in wanted), "the caller's generators go on where they were"
    assert torch.equal(weights(networks[0]), weights(networks[1]))


def test_it_leaves_everything_as_it_was_and_the_network_in_evaluation_mode() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    network = TINY.load().requires_grad_(False)
    train(network, training())
    after = torch.random.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert not network.training


def test_after_step_is_called_for_each_step_and_its_changes_stand() -> None:
    network, calls = TINY.load(), []

    def mask(done: float) -> None:
        calls.append(done)
        network[0].weight.data.zero_()

    train(network, training(), after_step=mask)
    assert calls == [step / 16 for step in range(1, 17)]
    assert not network[0].weight.any()


def test_another_seed_goes_on_with_other_epochs() -> None:
    asked: list[int] = []

    def batches(epoch: int) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
        asked.append(epoch)
        return [({"image": np.zeros((2, 1, 12, 12), np.float32)}, np.zeros(2, np.int64))]

    for seed in (0, 2):
        train(TINY.load(), dataclasses.replace(training(batches=batches), epochs=3), seed=seed)
    assert asked == [0, 1, 2, 6, 7, 8]


def test_the_teacher_is_asked_without_gradients() -> None:
    teacher, seen = TINY.load(), []

    def loss(outputs: torch.Tensor, labels: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        seen.append(taught.requires_grad)
        return (outputs - taught).square().mean()

    train(TINY.load(), training(), teacher=teacher, loss=loss)
    assert seen == [False] * 16
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_rate_falls_from_its_peak_to_nothing() -> None:
    from harness.techniques.training import _schedule

    rates = [rate for rate, *_ in _schedule(training(learning_rate=0.5))]
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)
    assert rates[8] == pytest.approx(0.25)
    assert 0 < rates[-1] < 0.01


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_loss_that_is_not_finite_is_a_failed_preparation() -> None:
    with pytest.raises(PreparationError, match="diverged: the loss is nan"):
        train(TINY.load(), training(loss=lambda outputs, labels: outputs.sum() * float("nan")))


def test_no_batches_are_a_failed_preparation() -> None:
    with pytest.raises(PreparationError, match=r"Training.batches\(0\) gave no batches"):
        train(TINY.load(), training(batches=lambda epoch: []))


@pytest.mark.parametrize("kind", [torch.nn.Embedding, torch.nn.EmbeddingBag])
def test_sparse_gradients_are_refused_with_the_cure(kind: type[torch.nn.Module]) -> None:
    """torch's error asks for another optimizer, which nobody can choose."""
    network = torch.nn.ModuleDict({"plain": kind(4, 2), "rows": kind(4, 2, sparse=True)})
    words = "^rows of the network would have sparse gradients, .* with sparse=False"
    with pytest.raises(PreparationError, match=words):
        train(network, training())


def test_labels_and_inputs_may_be_read_only() -> None:
    images, labels = np.zeros((2, 1, 12, 12), np.float32), np.zeros(2, np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    network = TINY.load()
    train(network, training(batches=lambda epoch: [({"image": images}, labels)]))
    assert torch.isfinite(weights(network)).all()
