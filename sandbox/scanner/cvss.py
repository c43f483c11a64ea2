"""The base score of a CVSS 3 vector, and the severity that it stands for.

Source: https://www.first.org/cvss/v3.1/specification-document, sections 7.1 and 7.4, and appendix A
"""

from __future__ import annotations

import re

_METRIC = re.compile(r"([A-Z]+):([A-Z])")
_WEIGHTS = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    **{name: {"H": 0.56, "L": 0.22, "N": 0.0} for name in ("C", "I", "A")},
}
_PRIVILEGES = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}
_BANDS = ((9.0, "CRITICAL"), (7.0, "HIGH"), (4.0, "MEDIUM"), (0.1, "LOW"))


def base_score(vector: str) -> float | None:
    """The base score of a CVSS 3.0 or 3.1 vector; None for another version, or a vector that lacks a metric."""
    version, *parts = vector.split("/")
    if version not in ("CVSS:3.0", "CVSS:3.1"):
        return None
    metrics = {match[1]: match[2] for match in map(_METRIC.fullmatch, parts) if match}
    try:
        weight = {name: values[metrics[name]] for name, values in _WEIGHTS.items()}
        changed, privileges = metrics["S"] == "C", _PRIVILEGES[metrics["S"]][metrics["PR"]]
    except KeyError:
        return None
    base = 1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    impact = 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weight["AV"] * weight["AC"] * privileges * weight["UI"]
    return _rounded_up(min(10.0, (1.08 if changed else 1.0) * (impact + exploitability)))


def severity_of(score: float) -> str:
    """The qualitative severity of a score, as Trivy spells it."""
    return next((name for least, name in _BANDS if score >= least), "UNKNOWN")


def _rounded_up(value: float) -> float:
    """Rounded up to one decimal, without the errors of binary fractions."""
    tenths, rest = divmod(round(value * 100_000), 10_000)
    return (tenths + (1 if rest else 0)) / 10
