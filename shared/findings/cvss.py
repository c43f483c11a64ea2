"""The base score of a CVSS vector of version 3.

Source: https://www.first.org/cvss/v3.1/specification-document, section 7. Version 2 is out of use, and version 4 has no
formula but a table of 270 scores: reports that give those give their scores, too.
"""

import re

_VECTOR = re.compile(r"CVSS:3\.[01]((?:/[A-Z]{1,3}:[A-Z])+)")
_EXPLOIT = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
}
_PRIVILEGES = {
    "U": {"N": 0.85, "L": 0.62, "H": 0.27},
    "C": {"N": 0.85, "L": 0.68, "H": 0.5},
}
_IMPACT = {"H": 0.56, "L": 0.22, "N": 0.0}


def base_score_of(vector: str) -> float | None:
    """The base score from 0 to 10; None if it is not a complete vector of version 3."""
    if not (found := _VECTOR.fullmatch(vector)):
        return None
    metrics = dict(part.split(":") for part in found[1][1:].split("/"))
    try:
        return _score(metrics)
    except KeyError:
        return None


def _score(metrics: dict[str, str]) -> float:
    scope = metrics["S"]
    exploitability = 8.22 * _PRIVILEGES[scope][metrics["PR"]]
    for metric, weights in _EXPLOIT.items():
        exploitability *= weights[metrics[metric]]
    harmless = 1.0
    for metric in "CIA":
        harmless *= 1 - _IMPACT[metrics[metric]]
    loss = 1 - harmless
    if scope == "U":
        impact = 6.42 * loss
        return _rounded_up(min(impact + exploitability, 10)) if impact > 0 else 0.0
    impact = 7.52 * (loss - 0.029) - 3.25 * (loss - 0.02) ** 15
    return _rounded_up(min(1.08 * (impact + exploitability), 10)) if impact > 0 else 0.0


def _rounded_up(score: float) -> float:
    """To one decimal, as the specification's appendix A rounds: free of the errors of floating point."""
    whole = round(score * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (whole // 10_000 + 1) / 10
