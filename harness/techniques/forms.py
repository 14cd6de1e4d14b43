"""The forms of a network, and what is said where a technique gets one that it does not take."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model import Model

__all__ = ["wrong_form"]

_FORMS = {
    "torch": "a torch network",
    "onnx": "an ONNX network",
    "openvino": "an OpenVINO network",
    "litert": "a LiteRT network",
}
_MAKERS = {
    "onnx": ("onnxruntime", ("torch",)),
    "openvino": ("openvino", ("torch", "onnx")),
    "litert": ("litert", ("torch",)),
}
"""The technique that leaves a form, and the other forms that it makes it of."""


def wrong_form(technique: str, forms: Sequence[str], model: Model, form: str) -> str:
    """Why a technique, by its name, that works on `forms` can't be applied to a model of which a pipeline has made
    `form` by then, and the cure.
    """
    wanted = f"{technique} works on {' or '.join(_FORMS.get(form, form) for form in forms)}"
    makers = (_MAKERS[other] for other in forms if other in _MAKERS)
    maker = next((name for name, sources in makers if form in sources), None)
    if model.form == form != "torch" and not maker:
        return f"{wanted}, and {model.name} exists only as {_FORMS.get(form, form)}"
    if model.form != form and "torch" in forms:
        return f"{wanted}, and the steps before it have made it {_FORMS.get(form, form)}: put it first"
    cure = f": put {maker} before it ({maker} | {technique})" if maker else ""
    return f"{wanted}, and gets {_FORMS.get(form, form)}{cure}"
