"""How near outputs are to those that they should be: in size of the difference, in decibels, in direction, exactly.

Formulas, with w the wanted and f the found outputs, each a vector of all elements, in float64, or in complex128 where
either is complex, whose cosine is the real part of w.f:

error      |f - w| / |w|                      relative L2 distance
SQNR       10 log10(|w|^2 / |f - w|^2) dB     signal to quantization noise: Bennett, "Spectra of Quantized Signals",
                                              1948; Widrow and Kollár, "Quantization Noise", 2008. It is
                                              -20 log10(error): each bit of precision is worth 6.02 dB
cosine     w.f / (|w| |f|)                    near 1 it is 1 - error^2 / 2, so it tells large errors apart, not small

They are the ones of PyTorch's numeric suite (compute_normalized_l2_error, compute_sqnr, compute_cosine_similarity in
torch.ao.ns.fx.utils). Places that both outputs mark as not counting, with one large number, are left out (`_mark`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.records import Scalar

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Outputs = Mapping[str, Array]

Facts = Mapping[str, Scalar]

__all__ = ["PART", "alteration", "beyond", "bits_of", "cosine", "fewer_bits", "nearness", "relative_error", "sqnr"]

PART = 2**20
"""Elements that are looked at together: a copy of a whole output is memory that a limited device may not have."""

_NOISE = 1e-6
"""What rounding leaves of outputs that are zero."""
_MARK, _OUTWEIGHS = 1e4, 1e3
"""The least magnitude of a mark, and by how many times it is larger than all else: what is wrong in the rest is then
less than a thousandth of the whole, within which two runs of one artefact agree."""
_SHARE = 0.001
"""Share of the weights that an exporter or a fusion may move without it being a technique."""
_FOLDED = 0.01


def relative_error(found: Array, wanted: Array) -> float:
    """`|found - wanted| / |wanted|` (L2 norms over all elements, in double precision); NaN where either holds one.

    Of arrays of one shape. The distance itself where all that is wanted is zero.
    """
    distance, norm = _distance(found, wanted)
    return distance / norm if norm > 0 else distance


def beyond(found: Array, wanted: Array, limit: float) -> float:
    """The relative error where it is beyond a limit; 0 where it is not, or where the distance is no more than 1e-6.

    Of outputs that are zero but for rounding the relative error says nothing.
    """
    distance, norm = _distance(found, wanted)
    return 0.0 if distance <= limit * norm + _NOISE else relative_error(found, wanted)


def sqnr(found: Outputs, wanted: Outputs) -> float:
    """The ratio of signal to quantization noise of the worst output, in dB. Outputs are paired by position.

    Infinite where nothing differs, minus infinity where anything found is no number, or differs from all zeros.
    """
    return min(_sqnr(f, w) for f, w in zip(found.values(), wanted.values(), strict=True))


def cosine(found: Array, wanted: Array) -> float:
    """The cosine of the angle between outputs as vectors: 1 for the same direction, 0 where only one has none."""
    import numpy as np

    product, of_found, of_wanted = 0.0, 0.0, 0.0
    for f, w in _doubles(found, wanted):
        product += float(np.vdot(f, w).real)
        of_found += float(np.vdot(f, f).real)
        of_wanted += float(np.vdot(w, w).real)
    norms = math.sqrt(of_found) * math.sqrt(of_wanted)
    if not norms:
        return float(not found.any() and not wanted.any())
    return max(-1.0, min(1.0, product / norms))


def nearness(found: Outputs, wanted: Outputs) -> dict[str, float]:
    """How near outputs are to the reference's, by the last word of the metrics `fidelity.*`.

    Outputs are paired by position, since each runtime names them in its own way. Of several, the worst counts: a small
    one would drown in a large one. `error`, `sqnr` and `cosine` are of floating point and complex outputs; `identical`
    is the share of all elements that are equal. What is not finite is left out: the SQNR where nothing differs, for
    instance. Empty where outputs have other shapes.
    """
    import numpy as np

    pairs = list(zip(found.values(), wanted.values(), strict=False))
    if not pairs or len(found) != len(wanted) or any(f.shape != w.shape for f, w in pairs):
        return {}
    equal, total = sum(int((f == w).sum()) for f, w in pairs), sum(w.size for _, w in pairs)
    values = {"identical": equal / total} if total else {}
    floats = [(f, w) for f, w in pairs if {f.dtype.kind, w.dtype.kind} & {*"fc"}]
    if floats:
        values["error"] = max(relative_error(f, w) for f, w in floats)
        values["sqnr"] = min(_sqnr(f, w) for f, w in floats)
        values["cosine"] = min(cosine(f, w) for f, w in floats)
    return {name: value for name, value in values.items() if np.isfinite(value)}


def bits_of(dtype: str) -> int:
    """The number in a type's name: `bfloat16` has 16 bits, `float8_e4m3fn` 8; 0 where there is none (`bool`)."""
    found = re.search(r"\d+", dtype)
    return int(found.group()) if found else 0


def fewer_bits(facts: Facts, reference: Facts) -> str:
    """In which fewer bits a network computes by its facts, in words; empty where in none that the reference does not.

    Its outputs can't equal the reference's everywhere.
    """
    known = str(reference.get("precision", "float32")).split("+")
    narrow = [t for t in str(facts.get("precision", "")).split("+") if 0 < bits_of(t) < 32 and t not in known]
    if narrow:
        return f"products in {' and '.join(narrow)}"
    more = _number(facts, "quantized") - _number(reference, "quantized")
    return f"{more * 100:.0f} % more weights in 8 bits or fewer" if more > _SHARE else ""


def alteration(facts: Facts, reference: Facts) -> str:
    """In which way a network is not the reference's by its facts, in words; empty where it is.

    Outputs may still equal the reference's: what was removed may not have reached them, and weights may need no more
    bits than they have now.
    """
    said = fewer_bits(facts, reference)
    if said:
        return said
    if (zeros := _number(facts, "sparsity") - _number(reference, "sparsity")) > _SHARE:
        return f"{zeros * 100:.1f} % more weights that are zero"
    before, now = _number(reference, "parameters"), _number(facts, "parameters")
    # Constant folding drops the rows of an embedding that no input can reach.
    if now and abs(now - before) > _FOLDED * before > 0:
        return f"{now:,.0f} weights instead of {before:,.0f}"
    stored = [name.partition(".")[2] for name in sorted(facts) if name.startswith("weights.")]
    changed = [t for t in stored if _number(facts, f"weights.{t}") - _number(reference, f"weights.{t}") > _SHARE]
    return f"weights in {' and '.join(changed)}" if changed and reference else ""


def _number(facts: Facts, name: str) -> float:
    found = facts.get(name)
    return float(found) if isinstance(found, (int, float)) else 0.0


def _distance(found: Array, wanted: Array) -> tuple[float, float]:
    """`|found - wanted|` and `|wanted|`."""
    import numpy as np

    distance, norm = 0.0, 0.0
    for near, exact in _doubles(found, wanted):
        gap = near - exact
        distance += float(np.vdot(gap, gap).real)
        norm += float(np.vdot(exact, exact).real)
    return math.sqrt(distance), math.sqrt(norm)


def _doubles(found: Array, wanted: Array) -> Iterator[tuple[Array, Array]]:
    """Both as vectors of double precision, part by part, with zeros where both hold the mark of what is wanted.

    Complex where either is: of float64, the real part alone would be left.
    """
    import numpy as np

    kind: Any = np.complex128 if "c" in (found.dtype.kind, wanted.dtype.kind) else np.float64
    mark = _mark(wanted)
    for f, w in zip(_parts(found), _parts(wanted), strict=True):
        near, exact = f.astype(kind), w.astype(kind)
        if mark is not None:
            marked = (near == mark) & (exact == mark)
            near[marked] = exact[marked] = 0
        yield near, exact


def _mark(wanted: Array) -> Any:
    """The number that stands where an output does not count, as `masked_fill(mask, -1e9)` leaves; None where none does.

    It has the largest magnitude, stands at two places or more, and outweighs all else. Left in, it alone would be the
    size of the output, and whatever stands beside it near enough.
    """
    import numpy as np

    value = max((part[np.abs(part).argmax()].item() for part in _parts(wanted)), key=abs, default=0)
    if not _MARK <= abs(value) < math.inf:
        return None
    places, rest = 0, 0.0
    for part in _parts(wanted):
        others = np.abs(part[part != value]).astype(np.float64)
        places += part.size - others.size
        rest += float(np.vdot(others, others))
    return value if places > 1 and 0 < _OUTWEIGHS * math.sqrt(rest) < abs(value) * math.sqrt(places) else None


def _parts(array: Array) -> Iterator[Array]:
    flat = array.reshape(-1)
    return (flat[start : start + PART] for start in range(0, flat.size, PART))


def _sqnr(found: Array, wanted: Array) -> float:
    error = relative_error(found, wanted)
    if error == 0:
        return math.inf
    return -20 * math.log10(error) if math.isfinite(error) and wanted.any() else -math.inf
