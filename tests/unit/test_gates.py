"""gates.yaml: every error with its line, all at once, and a policy where there is none."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from demo import scenario
from scripts.schema import gates_schema, schema_text
from shared.checks.approval import ApprovalCheck
from shared.checks.task import TaskCheck
from shared.domain.errors import Misconfigured
from shared.domain.policy import Policy, VersionRule, seconds
from shared.domain.targets.aci import AciRule
from shared.rules import InvalidGates, parse_gates

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = (ROOT / "gates.sample.yaml").read_text(encoding="utf-8")
SCOPE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries"

RULES = f"""\
registries:
  public: {{id: {SCOPE}/publicregistry}}
  base: {{id: {SCOPE}/contosobase, server: base.contoso.com, credentials: registry-base}}
gates:
  node:
    source: {{registry: public, repository: node, tags: ["15-alpine", "16-*"]}}
    checks:
      - task: {{registry: base, task: import-node, timeout: 10m, values: {{LEVEL: high}}}}
    promote: {{registry: base, repository: node}}
apps:
  web:
    base: {{gate: node, tag: 16-slim}}
    build: {{registry: base, task: build-web, image: "web:v{{run}}"}}
    deploy:
      aci:
        name: web-aci
        resource_group: web-rg
"""


def errors(text: str) -> list[str]:
    with pytest.raises(InvalidGates) as caught:
        parse_gates(text)
    return [str(error) for error in caught.value.errors]


def changed(old: str, new: str, rules: str = RULES) -> str:
    assert rules.count(old) == 1
    return rules.replace(old, new)


def parsed() -> Policy:
    return parse_gates(RULES)


def test_the_sample_is_right_and_fits_the_schema() -> None:
    policy = parse_gates(SAMPLE)
    assert list(policy.gates) == ["node"]
    assert policy.registries["public"].login_server == "publicregistry.azurecr.io"
    jsonschema.validate(yaml.safe_load(SAMPLE), gates_schema())


def test_the_rules_of_the_last_chapters_of_the_story_are_those_of_the_first_with_a_scan() -> None:
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in (scenario.GATES, scenario.GATES_WITH_SCAN)]
    before, after = map(parse_gates, texts)
    node = after.gates["node"]
    assert [check.kind for check in node.checks] == ["task", "scan"]
    without = msgspec.structs.replace(node, checks=node.checks[:1])
    assert msgspec.structs.replace(after, gates={"node": without}) == before
    jsonschema.validate(yaml.safe_load(texts[1]), gates_schema())


def test_the_published_schema_is_the_one_of_the_types() -> None:
    assert (ROOT / "docs/gates.schema.json").read_text(encoding="utf-8") == schema_text(), "run `make schema`"
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


def test_what_is_not_written_has_its_default() -> None:
    policy = parsed()
    assert policy.registries["base"].login_server == "base.contoso.com"
    gate = policy.gates["node"]
    check = gate.checks[0]
    assert isinstance(check, TaskCheck)
    assert (check.timeout, check.values) == ("10m", {"LEVEL": "high"})
    assert (gate.promote.unique, gate.promote.lock, gate.promote.by) == ("{tag}-{run}", True, "copy")
    assert (gate.drift, gate.referrers, gate.stale_after, gate.source.versions) == ("repair", "copy", None, None)
    public = policy.registries["public"]
    assert (public.is_azure, public.private, public.interval, public.requests_per_minute) == (True, False, None, None)
    assert policy.apps["web"].drift == "repair"
    deploy = policy.apps["web"].deploy
    assert isinstance(deploy, AciRule)
    assert (deploy.subscription, deploy.port, deploy.health.within) == ("s", 80, "60s")


def test_durations_are_seconds_minutes_hours_and_days() -> None:
    for text, length in {"45s": 45, "30m": 1800, "2h": 7200, "1d": 86400}.items():
        gate = parse_gates(changed("timeout: 10m", f"timeout: {text}")).gates["node"]
        check = gate.checks[0]
        assert isinstance(check, TaskCheck)
        assert seconds(check.timeout) == length


def test_a_fingerprint_changes_with_what_a_verdict_means_and_with_nothing_else() -> None:
    before = parsed().gates["node"].fingerprint
    assert parse_gates(changed("LEVEL: high", "LEVEL: low")).gates["node"].fingerprint != before
    assert parse_gates(changed('"16-*"', '"16-*", "17-*"')).gates["node"].fingerprint == before
    assert parse_gates(changed("timeout: 10m", "timeout: 9m")).gates["node"].fingerprint == before
    swapped = changed("values: {LEVEL: high}", "values: {A: x, LEVEL: high}")
    back = changed("values: {LEVEL: high}", "values: {LEVEL: high, A: x}")
    assert parse_gates(swapped).gates["node"].fingerprint == parse_gates(back).gates["node"].fingerprint


def test_a_fingerprint_outlives_a_new_version_of_the_app() -> None:
    gate = parsed().gates["node"]
    task = TaskCheck(registry="base", task="import-node", timeout="10m", values={"LEVEL": "high", "A": "x"})
    approval = ApprovalCheck(two_persons=True)
    assert msgspec.structs.replace(gate, checks=(task,)).fingerprint == "e8b04b1e06b24943"
    assert msgspec.structs.replace(gate, checks=(approval,)).fingerprint == "0a43bd5d1c9ad514"


def test_every_error_is_reported_at_once_in_the_order_of_the_lines() -> None:
    text = (
        RULES.replace("credentials: registry-base", "password: hunter2")
        .replace("repository: node, tags", "repository: Node, tags")
        .replace("timeout: 10m", "timeout: soon")
        .replace("tag: 16-slim", "tag: 16 slim")
        .replace("resource_group: web-rg", "port: 0")
    )
    problems = errors(text)
    assert [line.split(",")[0] for line in problems] == ["line 3", "line 6", "line 8", "line 12", "line 15", "line 17"]
    assert "unknown key; known keys: id, server, credentials" in problems[0]
    assert "'resource_group' is missing" in problems[4]
    assert "hunter2" not in "".join(problems)


def test_a_name_is_the_key_it_stands_under_and_is_not_written() -> None:
    policy = parsed()
    assert (policy.registries["base"].name, policy.gates["node"].name, policy.apps["web"].name) == (
        "base",
        "node",
        "web",
    )
    assert (
        "gates.node.name: unknown key; known keys: source" in errors(changed("  node:\n", "  node:\n    name: x\n"))[0]
    )
    rules = gates_schema()["$defs"]
    assert not any("name" in rules[named]["properties"] for named in ("RegistryRule", "Gate", "App"))


def test_the_error_is_one_for_the_operator_and_counts_them() -> None:
    with pytest.raises(Misconfigured, match=r"rules\.yaml has 1 error:\n  line 8, column 51: gates\.node\.checks"):
        parse_gates(changed("timeout: 10m", "timeout: soon"), "rules.yaml")


@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        ("{id: " + SCOPE + "/publicregistry}", "{id: publicregistry}", "line 2, column 12: registries.public.id"),
        ("server: base.contoso.com", "server: https://x", "line 3"),
        ("node:\n", "Node:\n", "line 5, column 3: gates.Node: 'Node' is not lower-case words"),
        ('["15-alpine", "16-*"]', "[]", "line 6, column 50: gates.node.source.tags: Expected a list of length >= 1"),
        (
            '"15-alpine"',
            "15",
            "gates.node.source.tags.0: 15 is not a tag, or a pattern with * and ? (no brackets, no "
            "regular expression); write it in quotes",
        ),
        ("task: import-node", "task: x", "line 8, column 32: gates.node.checks.0.task.task: 'x' is not an ACR Task"),
        ("{LEVEL: high}", "{LEVEL: 7}", "task.values.LEVEL: Expected 'str', got 'int'; write it in quotes"),
        ("{LEVEL: high}", "{1st: high}", "line 8, column 74: gates.node.checks.0.task.values.1st"),
        ("- task:", "- scna:", "unknown key; known keys: signature"),
        ("repository: node}", "repository: node, by: magic}", "line 9, column 49: gates.node.promote.by"),
        ("repository: node}", "repository: node, lock: maybe}", "gates.node.promote.lock: Expected 'bool'"),
        ("web-aci", "Web_ACI", "line 16, column 9: apps.web.deploy.aci.name: 'Web_ACI' is not lower-case words"),
        ("web-aci\n", "web-aci\n        health: {path: web}\n", "apps.web.deploy.aci.health.path: 'web' is not a path"),
        (
            "web-aci\n",
            "web-aci\n        health: {within: 60}\n",
            "apps.web.deploy.aci.health.within: 60 is not a number",
        ),
        ("web-aci\n", "web-aci\n        cpu: 0\n", "apps.web.deploy.aci.cpu"),
        ("web-aci\n", "web-aci\n        restart: Sometimes\n", "apps.web.deploy.aci.restart"),
        ('"16-*"', '"1[67]"', "tags.1: '1[67]' is not a tag, or a pattern with * and ? (no brackets"),
        ('"16-*"', r'"^16-.*$"', "tags.1: '^16-.*$' is not a tag, or a pattern with * and ? (no brackets, no regular"),
        ('"16-*"]', '"16-*"], versions: {newest: 0}', "source.versions.newest: 0 is not a number from 1 to 100"),
        ('"16-*"]', '"16-*"], versions: {newest: 101}', "source.versions.newest: 101 is not a number from 1 to 100"),
        ('"16-*"]', '"16-*"], versions: {range: 16}', "16 is not a range of versions: >=20 <21, ^20.1"),
        ('"16-*"]', '"16-*"], versions: {semver: 16}', "unknown key; known keys: range, newest, prereleases"),
        (
            "server: base.contoso.com",
            "server: base.contoso.com, requests_per_minute: 0",
            "base.requests_per_minute: 0 is not a number from 1 to",
        ),
        (
            "server: base.contoso.com",
            "server: base.contoso.com, interval: 15",
            "base.interval: 15 is not a number and s, m, h",
        ),
        (
            "server: base.contoso.com",
            "server: base.contoso.com, private: 1",
            "base.private: Expected 'bool', got 'int'",
        ),
        (
            "server: base.contoso.com",
            'server: "Base:x"',
            "registries.base.server: 'Base:x' is not a lower-case host name",
        ),
        (
            "repository: node}\n",
            "repository: node}\n    drift: ignore\n",
            "'ignore' is not report (drift is reported) or",
        ),
        (
            "repository: node}\n",
            "repository: node}\n    stale_after: 1w\n",
            "stale_after: '1w' is not a number and s",
        ),
        (
            "repository: node}\n",
            "repository: node}\n    referrers: sign\n",
            "referrers: 'sign' is not copy (signatures, SBOMs",
        ),
    ],
)
def test_what_does_not_fit_its_type_is_told_with_its_place(old: str, new: str, problems: str) -> None:
    lines = errors(changed(old, new))
    assert any(problems in line for line in lines), lines


WITH_HUB = changed(
    "registries:\n", 'registries:\n  hub: {server: "index.docker.io", interval: 15m, requests_per_minute: 100}\n'
)
SECOND_GATE = """\
  other:
    source: {registry: public, repository: node, tags: ["15-alpine"]}
    checks:
      - task: {registry: base, task: import-node}
    promote: {registry: base, repository: node}
apps:
"""
SECOND_APP = """\
  shop:
    base: {gate: node, tag: 16-slim}
    build: {registry: base, task: build-shop, image: "shop:{run}"}
    deploy: {aci: {name: web-aci, resource_group: WEB-RG}}
"""


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (changed("source: {registry: public", "source: {registry: nobody"), "line 6, column 14: gates.node.source.reg"),
        (
            changed("task: {registry: base, task: imp", "task: {registry: none, task: imp"),
            "no registry 'none' (known: pub",
        ),
        (changed("promote: {registry: base", "promote: {registry: none"), "gates.node.promote.registry"),
        (changed("build: {registry: base", "build: {registry: none"), "line 13, column 13: apps.web.build.registry"),
        (
            changed("gate: node, tag", "gate: python, tag"),
            "apps.web.base.gate: there is no gate 'python' (known: node)",
        ),
        (changed("tag: 16-slim", "tag: 17-slim"), "line 12, column 24: apps.web.base.tag: gate node does not track"),
        (changed("repository: node}", 'repository: node, unique: "{tag}-x"}'), "unique: must contain {run}"),
        (changed("repository: node}", 'repository: node, unique: "{tag}/{run}"}'), "unique: must be a tag once"),
        (changed("repository: node}", 'repository: node, unique: "{run}-{who}"}'), "unique: must be a tag once"),
        (changed('"web:v{run}"', "web:latest"), "apps.web.build.image: must be repository:tag with {run}"),
        (changed('"web:v{run}"', '"web-{run}:latest"'), "apps.web.build.image: must be repository:tag with {run}"),
        (changed('"web:v{run}"', '"{run}"'), "apps.web.build.image"),
        (changed('"web:v{run}"', '"Web:{run}"'), "apps.web.build.image"),
        (changed('"web:v{run}"', '"contoso.azurecr.io:5000/web:{run} "'), "apps.web.build.image"),
        (
            changed("promote: {registry: base", "promote: {registry: public"),
            "gates.node.promote: promotes into its own",
        ),
        (changed("apps:\n", SECOND_GATE), "gates.other.promote: gate node moves node:15-alpine too"),
        (changed("apps:\n", SECOND_GATE.replace('"15-alpine"', '"*"')), "gates.other.promote"),
        (RULES + SECOND_APP, "apps.shop.deploy.aci.name: app web deploys to web-aci too"),
        (
            changed("name: web-aci, ", "name: web-aci, subscription: s, ", RULES + SECOND_APP),
            "apps.shop.deploy.aci.name: app web deploys to web-aci too",
        ),
        (
            changed("  base: {id", f"  again: {{id: {SCOPE}/PUBLICREGISTRY}}\n  base: {{id"),
            "line 3, column 11: registries.again.id: registry public has the same id",
        ),
        (
            changed("  base: {id", "  again: {server: publicregistry.azurecr.io}\n  base: {id"),
            "line 3, column 11: registries.again.server: registry public is publicregistry.azurecr.io too",
        ),
        (
            changed("  base: {id", "  none: {credentials: x}\n  base: {id"),
            "line 3, column 3: registries.none: a registry needs the `id` of an Azure registry, or the `server` of any",
        ),
        (
            changed("promote: {registry: base", "promote: {registry: hub", WITH_HUB),
            "gates.node.promote.registry: registry hub has no `id`: images are",
        ),
        (
            changed("task: {registry: base, task: imp", "task: {registry: hub, task: imp", WITH_HUB),
            "checks.0.task.registry: registry hub has no `id`: ACR Tasks run in",
        ),
        (
            changed("build: {registry: base", "build: {registry: hub", WITH_HUB),
            "apps.web.build.registry: registry hub has no `id`: ACR Tasks run in Azure",
        ),
        (
            changed('"16-*"]', '"16-*"], versions: {range: "16 || >17 <1O"}'),
            "line 6, column 90: gates.node.source.versions.range: '16 || >17 <1O', at character 12: '1O' is not",
        ),
        (changed('"16-*"]', '"16-slim"], versions: {range: "16"}'), "source.versions: no tag is a pattern"),
        (changed('"16-*"]', '"16-*", "16.?"], versions: {}'), "source.tags.2: '16.?' must have a *"),
        (
            changed("tag: 16-slim", "tag: 16.2-slim", changed('"16-*"]', '"*-slim"], versions: {range: "17"}')),
            "apps.web.base.tag: gate node does not track tag '16.2-slim': it tracks 15-alpine, *-slim (versions 17)",
        ),
        (changed("apps:\n", SECOND_GATE.replace('"15-alpine"', '"*-slim"')), "gate node moves node:*-slim too"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_told_with_their_place(text: str, problems: str) -> None:
    lines = errors(text)
    assert any(problems in line for line in lines), lines


def test_a_gate_of_docker_hub_has_its_versions_its_pace_and_its_silence() -> None:
    source = """registry: hub, repository: node, tags: ["*-alpine", lts], versions: {range: ">=20 <21", newest: 3}"""
    rules = changed('registry: public, repository: node, tags: ["15-alpine", "16-*"]', source, WITH_HUB)
    rules = changed("repository: node}\n", "repository: node}\n    drift: report\n    stale_after: 7d\n", rules)
    policy = parse_gates(changed("tag: 16-slim}", "tag: lts}\n    drift: report", rules))
    hub, gate = policy.registries["hub"], policy.gates["node"]
    assert (hub.login_server, hub.is_azure, hub.interval, hub.requests_per_minute) == ("docker.io", False, "15m", 100)
    assert gate.source.repository == "library/node"
    assert gate.source.versions == VersionRule(range=">=20 <21", newest=3)
    assert (gate.drift, gate.stale_after) == ("report", "7d")
    assert policy.apps["web"].drift == "report"
    assert [tag for tag in ("20.1-alpine", "21-alpine", "20.1-rc1-alpine", "lts") if gate.takes(tag)] == [
        "20.1-alpine",
        "lts",
    ]


@pytest.mark.parametrize("server", ["docker.io", "registry-1.docker.io", "registry.hub.docker.com"])
def test_docker_hub_has_one_name_and_its_official_images_their_full_one(server: str) -> None:
    rules = changed("registry: public", "registry: hub", WITH_HUB.replace("index.docker.io", server))
    assert parse_gates(rules).registries["hub"].login_server == "docker.io"
    assert parse_gates(rules).gates["node"].source.repository == "library/node"
    named = changed("repository: node, tags", "repository: grafana/loki, tags", rules)
    assert parse_gates(named).gates["node"].source.repository == "grafana/loki"


def test_another_registry_may_have_a_port_and_a_private_address_and_keeps_its_names() -> None:
    rules = changed("index.docker.io", "harbor.lab.example:8443", WITH_HUB).replace(
        "requests_per_minute: 100", "private: true"
    )
    policy = parse_gates(rules.replace("registry: public", "registry: hub"))
    assert policy.registries["hub"].login_server == "harbor.lab.example:8443"
    assert policy.registries["hub"].private
    assert policy.gates["node"].source.repository == "node"


def test_gates_of_one_pattern_share_a_target_where_their_versions_are_apart() -> None:
    second = SECOND_GATE.replace('["15-alpine"]', '["16-*"], versions: {range: "%s"}')
    rules = changed('"16-*"]', '"16-*"], versions: {range: "16.x"}', changed("tag: 16-slim", "tag: 16-16.1"))
    assert list(parse_gates(changed("apps:\n", second % "17", rules)).gates) == ["node", "other"]
    assert "gate node moves node:16-* too" in errors(changed("apps:\n", second % ">=16.8", rules))[0]


def test_two_gates_may_share_a_target_where_their_tags_differ() -> None:
    text = changed("apps:\n", SECOND_GATE.replace('"15-alpine"', '"17-*"'))
    assert list(parse_gates(text).gates) == ["node", "other"]


def test_a_conflict_in_every_part_is_reported_at_once() -> None:
    text = (
        RULES.replace("registry: public", "registry: nobody")
        .replace("tag: 16-slim", "tag: 9")
        .replace("v{run}", "latest")
    )
    text = text.replace("tag: 9", 'tag: "9"')
    assert [line.split(":")[1].strip() for line in errors(text)] == [
        "gates.node.source.registry",
        "apps.web.base.tag",
        "apps.web.build.image",
    ]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (changed("  base: {id", "  public: {id"), "line 3, column 3: duplicate key 'public'"),
        (changed("name: web-aci", "name: web-aci\n        name: other"), "line 17, column 9: duplicate key 'name'"),
        ("registries: {a: b", "line 1, column 18: expected ',' or '}'"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a:\n\t- b", "line 2, column 1: found character '\\t' that cannot start any token"),
        ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
        ("a: *nobody", "line 1, column 4: the alias *nobody is not allowed: write its value"),
        ("a: &a [*a]", "line 1, column 8: the alias *a is not allowed: write its value"),
        ("[" * 5_000, "line 1, column 1: it is nested too deeply"),
        ("a: !secret x", "line 1, column 4: could not determine a constructor for the tag '!secret'"),
        ("a: b\nc: 2001-13-45", "line 2, column 4: '2001-13-45' cannot be read (month must be in 1..12); write it in"),
        ("a: b\nc: \x07", "line 2, column 4: the character '\\x07' is not allowed"),
        ("? [a, b]\n: c", "line 1, column 3: a key must be text"),
        ("", "line 1, column 1: "),
        ("# nothing", "line 1, column 1: "),
        ("- a\n- b", "line 1, column 1: "),
        ("just text", "line 1, column 1: "),
    ],
)
def test_what_is_no_yaml_for_rules_is_told_with_its_place(text: str, problems: str) -> None:
    assert errors(text)[0].startswith(problems), errors(text)


def test_an_alias_is_refused_before_it_makes_much_of_little() -> None:
    laughs = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnopqrstuvwxyz"))
    assert errors(laughs) == ["line 2, column 8: the alias *a is not allowed: write its value"]


@pytest.mark.parametrize("key", ["registries", "gates"])
def test_an_empty_part_is_missed(key: str) -> None:
    document: dict[str, Any] = yaml.safe_load(RULES)
    document[key] = {}
    assert any(f": {key}: " in line for line in errors(yaml.safe_dump(document)))
    del document[key]
    assert any(f"the key '{key}' is missing" in line for line in errors(yaml.safe_dump(document)))


def test_container_groups_of_one_name_in_two_subscriptions_are_two() -> None:
    other = f"  other: {{id: {SCOPE.replace('subscriptions/s', 'subscriptions/t')}/otherbase}}\n"
    shop = changed("registry: base, task: build-shop", "registry: other, task: build-shop", SECOND_APP)
    policy = parse_gates(changed("  base: {id", f"{other}  base: {{id") + shop)
    deploys = (app.deploy for app in policy.apps.values())
    assert [deploy.subscription for deploy in deploys if isinstance(deploy, AciRule)] == ["s", "t"]


@pytest.mark.parametrize(
    ("deploy", "problems"),
    [
        ("{}", ["line 14, column 5: apps.web.deploy: exactly one key is needed here: aci"]),
        ("{aci: }", ["line 14, column 5: apps.web.deploy: exactly one key is needed here: aci"]),
        ("{vm: {name: x}}", ["line 14, column 14: apps.web.deploy.vm: unknown key; known keys: aci"]),
        ("aci", ["line 14, column 5: apps.web.deploy: Expected 'object', got 'str'"]),
    ],
)
def test_an_app_is_deployed_to_exactly_one_target(deploy: str, problems: list[str]) -> None:
    before, _, _ = RULES.partition("    deploy:")
    assert errors(f"{before}    deploy: {deploy}\n") == problems


def test_an_app_without_a_target_is_built_and_no_more() -> None:
    before, _, _ = RULES.partition("    deploy:")
    assert parse_gates(f"{before}    deploy:\n").apps["web"].deploy is None
