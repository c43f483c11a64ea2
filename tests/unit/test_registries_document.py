"""The gates of docs/registries.md can be pasted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from scripts.schema import gates_schema
from shared.domain.policy import Gate, RegistryRule, VersionRule
from shared.rules import parse_gates
from shared.sweep.jobs.stable_tags import _FEW_TAGS, _LOCK_ROUNDS
from shared.sweep.jobs.upstream import _BATCH_TAGS, NEW_DIGESTS_A_ROUND

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/registries.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
SERVERS = ("docker.io", "ghcr.io", "quay.io", "mcr.microsoft.com")


def pasted(example: str) -> dict[str, Any]:
    """The sample's rules with those of an example beside them."""
    rules: dict[str, Any] = yaml.safe_load((ROOT / "gates.sample.yaml").read_text(encoding="utf-8"))
    for part, entries in yaml.safe_load(example).items():
        assert not set(entries) & set(rules[part]), "an example overwrites the sample's rules"
        rules[part] |= entries
    return rules


@pytest.mark.parametrize(("server", "example"), list(zip(SERVERS, EXAMPLES, strict=True)))
def test_the_example_of_each_registry_fits_beside_the_sample(server: str, example: str) -> None:
    rules = pasted(example)
    jsonschema.validate(rules, gates_schema())
    policy = parse_gates(yaml.safe_dump(rules))
    gate = policy.gates[next(iter(yaml.safe_load(example)["gates"]))]
    assert policy.registries[gate.source.registry].login_server == server


def test_all_examples_fit_beside_each_other() -> None:
    rules = pasted(EXAMPLES[0])
    for example in EXAMPLES[1:]:
        for part, entries in yaml.safe_load(example).items():
            rules[part] |= entries
    assert len(parse_gates(yaml.safe_dump(rules)).gates) == 1 + len(SERVERS)


def test_the_gate_of_the_readme_fits_with_checks_and_promotion() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    rules, shown = pasted(second), yaml.safe_load(first)
    usual = shown["gates"]["node"]
    rules["gates"]["node-20"] |= {"checks": usual["checks"], "promote": usual["promote"]}
    assert shown["gates"]["node"].items() <= rules["gates"]["node"].items()
    assert parse_gates(yaml.safe_dump(rules)).gates["node-20"].source.repository == "library/node"


def test_a_variant_behind_the_version_is_left_out_as_the_example_says() -> None:
    rule = parse_gates(yaml.safe_dump(pasted(EXAMPLES[2]))).gates["node-exporter"].source.tracked
    assert rule.takes("v1.8.2")
    assert not rule.takes("v1.8.2-distroless")


def test_every_key_about_sources_is_told_of() -> None:
    described = set(re.findall(r"^\| `([a-z_.]+)` \|", TEXT, re.MULTILINE))
    registry = set(RegistryRule.__struct_fields__) - {"name", "id", "server"}
    versions = {f"versions.{field}" for field in VersionRule.__struct_fields__}
    of_gates = {"stale_after", "referrers"}
    assert described == registry | versions | of_gates
    assert of_gates <= set(Gate.__struct_fields__)


def test_what_the_sweep_costs_is_what_it_is_held_to() -> None:
    assert f"up to {_FEW_TAGS} tags" in TEXT
    assert _LOCK_ROUNDS == 12
    assert f"each {_BATCH_TAGS} tags" in TEXT
    assert f"At most {NEW_DIGESTS_A_ROUND} new digests" in TEXT
