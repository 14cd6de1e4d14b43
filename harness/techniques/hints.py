"""Networks that show their features while they are trained. Imports torch: import this inside functions only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch

from harness.errors import PreparationError

__all__ = ["Watched", "channels_last", "common_features", "hint_loss"]


class Watched(torch.nn.Module):
    """A network whose forward gives (its outputs, the features at some modules).

    modules  names of modules; features are what they give, or what they take where `inputs` is True
    """

    def __init__(self, network: Any, modules: Sequence[str], *, inputs: bool) -> None:
        super().__init__()
        self.network = network
        self._seen: dict[int, Any] = {}
        self._count = len(modules)
        self._handles = [
            network.get_submodule(name).register_forward_hook(self._keeper(number, inputs))
            for number, name in enumerate(modules)
        ]
        self.projections = torch.nn.ModuleList()

    def forward(self, *inputs: Any) -> Any:
        self._seen.clear()
        outputs = self.network(*inputs)
        features = [channels_last(self._seen[number]) for number in range(self._count)]
        if self.projections:
            features = [project(each) for project, each in zip(self.projections, features, strict=True)]
        return outputs, features

    def widths(self, example: Sequence[Any]) -> list[int]:
        """The channels of each feature."""
        with torch.no_grad():
            return [feature.shape[-1] for feature in self(*example)[1]]

    def project(self, example: Sequence[Any], widths: Sequence[int]) -> None:
        """From now on map the channels of each feature to so many, by linear projections that are trained as well."""
        pairs = zip(self.widths(example), widths, strict=True)
        self.projections.extend(torch.nn.Linear(own, wanted, bias=False) for own, wanted in pairs)

    def released(self) -> Any:
        """The network itself, watched no longer."""
        for handle in self._handles:
            handle.remove()
        return self.network

    def _keeper(self, number: int, inputs: bool) -> Callable[[Any, Any, Any], None]:
        def keep(_: Any, taken: Any, given: Any) -> None:
            value = taken[0] if inputs else given
            if not isinstance(value, torch.Tensor):
                raise PreparationError("features must be tensors; name other modules in hints")
            self._seen[number] = value

        return keep


def common_features(student: Any, teacher: Any, patterns: str | Sequence[str], last: tuple[str, str]) -> Any:
    """Where features of both are compared: ((names in the student, in the teacher), whether it is their inputs).

    Modules that both have under the same name and that one of `patterns` matches (`layers.*`, as file names are
    matched); without patterns what goes into the layer of the first output, `last` in student and teacher.
    """
    if not patterns:
        return ([last[0]], [last[1]]), True
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    names = dict(student.named_modules()).keys() & dict(teacher.named_modules()).keys()
    found = sorted(name for name in names if name and any(fnmatchcase(name, pattern) for pattern in wanted))
    if not found:
        common = ", ".join(sorted(name for name in names if name)[:20]) or "none"
        raise PreparationError(f"no module that student and teacher both have matches {wanted}; common are {common}")
    return (found, found), False


def hint_loss(features: Sequence[Any], taught: Sequence[Any]) -> Any:
    """Mean over the features of |student's - teacher's|^2 / |teacher's|^2, so that one weight serves all sizes."""
    for mine, other in zip(features, taught, strict=True):
        if mine.shape != other.shape:
            raise PreparationError(
                f"features of the student have the shape {tuple(mine.shape)} where the teacher's have "
                f"{tuple(other.shape)}, channels last: only the channels are projected; name other modules in hints"
            )
    pairs = zip(features, taught, strict=True)
    return torch.stack([(a - b).square().sum() / b.square().sum().clamp(min=1e-12) for a, b in pairs]).mean()


def channels_last(value: Any) -> Any:
    """Features or logits with their channels on the last axis: (B, C, H, W) becomes (B, H, W, C).

    What has up to three axes stays: sequences have their channels there already.
    """
    return value.movedim(1, -1) if value.dim() >= 4 else value
