"""Distillation: a smaller network taught by the model's own."""

from __future__ import annotations

import copy
from typing import Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.model import Model
from harness.runtimes.packages import installed
from harness.techniques.base import technique
from harness.techniques.training import train

__all__ = ["distilled"]


@technique(takes="torch", needs=["training"], requires=installed("torch", "torch"))
def distilled(deployment: Deployment, into: Model, *, temperature: float = 4.0, weight: float = 0.7) -> Deployment:
    """The network of `into`, taught to answer as this model's network does, on this model's training data.

    The loss of a batch is `weight * T^2 * KL(teacher / T || student / T) + (1 - weight) * Training.loss`, with T the
    temperature, on the first output taken as logits over its last axis. Students that start from other weights end at
    other accuracies: a gain smaller than the difference between them shows nothing.
    Source: Hinton, Vinyals & Dean, arXiv 1503.02531.
    """
    if into.form != "torch":
        raise SuiteError(f"distilled(into={into.name}): the student must be a torch model to be trained")
    if not temperature > 0 or not 0 <= weight <= 1:
        raise SuiteError("distilled: temperature must be above 0 and weight between 0 and 1")
    if deployment.model.training is None:
        raise SuiteError(f"distillation needs Model.training, and the model {deployment.model.name} has none")
    import torch

    from harness.runtimes.torch_session import module_weights, named_outputs

    training = deployment.model.training()

    def loss(outputs: Any, labels: Any, taught: Any) -> Any:
        student, teacher = (next(iter(named_outputs(each).values())) / temperature for each in (outputs, taught))
        soft = torch.nn.functional.kl_div(
            student.log_softmax(-1).flatten(0, -2),
            teacher.log_softmax(-1).flatten(0, -2),
            log_target=True,
            reduction="batchmean",
        )
        return weight * temperature**2 * soft + (1 - weight) * training.loss(outputs, labels)

    teacher = deployment.network
    student = copy.deepcopy(into.load())
    large, small = (sum(item.elements for item in module_weights(network)) for network in (teacher, student))
    if not small < large:
        raise PreparationError(
            f"the student {into.name} has {small} weights and its teacher {large}; a student must be smaller"
        )
    train(student, training, teacher=teacher, loss=loss)
    return deployment.replace(network=student).promising(Promise("parameters", at_least=1, at_most=small))
