"""`RUN --mount`: what may reach this machine is refused where podman lets it, and works where it does not."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from sandbox.engine import RunStore
from sandbox.engine.run_mounts import RunMounts, risky_run_flag
from sandbox.engine.run_store import PodmanRunStore
from sandbox.engine.triggers import Triggers
from sandbox.tests.engine_bench import LOGINS, SERVER, Bench

BIND = "--mount=type=bind,from=linked,source=/link,target=/host"


@pytest.mark.attack("a Dockerfile", "RUN --mount in disguise", "every line and flag is looked at")
@pytest.mark.parametrize(
    "dockerfile",
    [
        f"RUN {BIND} id",
        f"run\t{BIND} id",
        f"RUN\r{BIND} id",
        f"\ufeffRUN {BIND} id",
        f"RUN --network=none {BIND} id",
        f"RUN \\\n  {BIND} id",
        f"RUN \\\n# why\n\n  {BIND} id",
        f"RU\\\nN {BIND} id",
        f"RUN --mou\\\n{BIND.removeprefix('--mou')} id",
        f"# escape=`\nRUN `\n{BIND} id",
        f"# escape=`\nCOPY a b\\\nRUN {BIND} id",
        f"COPY a b\\\\\nRUN {BIND} id",
        f"COPY a b \\\n  # why\nRUN {BIND} id",
        f"ONBUILD RUN {BIND} id",
        f"ONBU\u0130LD RUN {BIND} id",
        "ARG M=--mount\nRUN --$M=type=bind,source=link,target=/host id",
        'RUN --mo"unt"=type=bind,source=link,target=/host id',
        "RUN --mount=type=cache,id=../../..,target=/host id",
        "RUN --mount=type=tmpfs,type=bind,source=link,target=/host id",
        "RUN --mount=target=/host,source=link id",
        "RUN " + "--network=none " * 200 + BIND + " id",
    ],
)
def test_a_flag_that_mounts_is_found_however_it_is_written(dockerfile: str) -> None:
    assert risky_run_flag(f"FROM scratch\n{dockerfile}\nCMD x\n")


@pytest.mark.parametrize(
    "dockerfile",
    [
        "RUN mount --bind a b",
        f"RUN echo {BIND}",
        f"# RUN {BIND} id",
        f"COPY a b\\\n{BIND}",
        "RUN --network=none pip install \\\n    --no-cache-dir \\\n    x",
        "RUN --mount=type=tmpfs,target=/tmp,size=1m make",
        "RUN docker \\\n  run --rm x",
        'ENTRYPOINT ["run", "--mount=type=bind"]',
    ],
)
def test_what_mounts_nothing_is_no_such_flag(dockerfile: str) -> None:
    assert risky_run_flag(f"FROM scratch\n{dockerfile}\nCMD x\n") == ""


@pytest.mark.attack(
    "a Dockerfile", "RUN --mount through a link out of a stage (CVE-2024-1753)", "podman's behaviour, or a refusal"
)
@pytest.mark.containers
def test_a_mount_from_a_stage_works_or_is_refused_by_name_and_never_reaches_this_machine(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "key").write_text("secret-of-this-machine")
    (bench.context / "files").mkdir()
    (bench.context / "files" / "key").write_text("of-the-stage")
    (bench.context / "files" / "link").symlink_to(tmp_path / "machine")

    async def play() -> tuple[list[int], bool]:
        store = await bench.engine.prepare_run("ca1", {})
        image = await bench.base(store)
        codes = []
        for name, source in (("inside", "/key,target=/m/key"), ("outside", "/link,target=/m")):
            (bench.context / name).write_text(
                f"FROM scratch AS stage\nCOPY files/ /\nFROM {image}\n"
                f"RUN --mount=type=bind,from=stage,source={source} /bin/busybox cat /m/key\n"
            )
            codes.append(await bench.build(store, name))
        confined = await store._shared.run_mounts.are_confined()
        await store.close()
        return codes, confined

    (inside, outside), confined = bench.run(play())
    assert outside != 0
    assert not any("secret-of-this-machine" in line for line in bench.lines), bench.lines
    assert (inside == 0) is confined
    assert any("of-the-stage" in line for line in bench.lines) is confined
    assert any("CVE-2024-1753" in line for line in bench.lines) is not confined


@pytest.mark.attack("a base image", "ONBUILD RUN --mount, which no Dockerfile shows", "its triggers are looked at")
@pytest.mark.containers
def test_a_trigger_of_a_base_that_mounts_is_refused_by_name_and_never_reaches_this_machine(
    bench: Bench, tmp_path: Path
) -> None:
    image, mount = f"{SERVER}/hostile:1", f"--mount=type=cache,id={'../' * 40}{str(tmp_path)[1:]},target=/m"
    (tmp_path / "key").write_text("secret-of-this-machine")
    dockerfiles = (
        f"FROM {image}\n",
        f"ARG BASE={image}\nFROM $BASE\n",
        f"FROM {image} AS stage\nFROM scratch\nCOPY --from=stage /bin/busybox /b\n",
        f"FROM scratch\nCOPY busybox /a\nRUN <<EOF\nFROM {image}\nEOF\n",  # a heredoc, in which podman 4.3 sees a stage
    )

    async def play() -> tuple[list[int], int, bool]:
        publisher = await bench.engine.prepare_run("publish", LOGINS)
        await _publish(bench, publisher, image, f"RUN {mount} /bin/busybox cat /m/key")
        await publisher.close()
        bench.lines.clear()
        codes = []
        for number, dockerfile in enumerate(dockerfiles):
            store = await bench.engine.prepare_run(f"ca{number}", LOGINS)
            (bench.context / "app").write_text(dockerfile)
            codes.append(await bench.build(store, "app"))
            await store.close()
        store = await bench.engine.prepare_run("ca9", LOGINS)
        harmless = await bench.build(store, "Dockerfile")
        confined = await store._shared.run_mounts.are_confined()
        await store.close()
        return codes, harmless, confined

    codes, harmless, confined = bench.run(play())
    assert 0 not in codes, bench.lines
    assert harmless == 0
    assert not any("secret-of-this-machine" in line for line in bench.lines), bench.lines
    refused = f"{mount} in an ONBUILD instruction of a base image: refused, because the podman"
    assert sum(refused in line for line in bench.lines) == (0 if confined else 3), bench.lines
    assert any(f"{image}: image not known" in line for line in bench.lines) is not confined, bench.lines


@pytest.mark.containers
def test_a_trigger_that_mounts_nothing_is_executed(bench: Bench) -> None:
    image = f"{SERVER}/friendly:1"

    async def play() -> int:
        publisher = await bench.engine.prepare_run("publish", LOGINS)
        await _publish(bench, publisher, image, "RUN echo triggered")
        await publisher.close()
        store = await bench.engine.prepare_run("ca1", LOGINS)
        (bench.context / "app").write_text(f"FROM {image}\n")
        code = await bench.build(store, "app")
        await store.close()
        return code

    assert bench.run(play()) == 0, bench.lines
    assert "triggered" in bench.lines


async def _publish(bench: Bench, store: RunStore, image: str, trigger: str) -> None:
    """Push an image with a trigger, from a Dockerfile whose `ONBUILD` nobody looks at."""
    (bench.context / "base").write_text((bench.context / "Dockerfile").read_text() + f"ONBUILD {trigger}\n")
    command = ["build", "--quiet", "--format", "docker", "--network", "none", "--file", str(bench.context / "base")]
    assert isinstance(store, PodmanRunStore)
    await store._podman.check([*command, "--tag", image, str(bench.context)])
    assert (await store.push(image, bench.out)).exit_code == 0, bench.lines


def configuration(folder: Path, image: str, text: str) -> None:
    """A store with an image of that configuration."""
    place = folder / "overlay-images" / image
    place.mkdir(parents=True)
    (place / ("=" + base64.b64encode(f"sha256:{image}".encode()).decode())).write_text(text)


@pytest.mark.attack("a base image", "ONBUILD in a configuration that parsers read differently", "every key counts")
@pytest.mark.parametrize(
    "text",
    [
        '{"config": {"OnBuild": ["RUN --mount=type=bind,target=/m id"]}}',
        '{"Config": {"onbuild": ["EXPOSE 1", "RUN --mount=type=bind,target=/m id"]}}',
        '{"config": {"OnBuild": ["RUN --mount=type=bind,target=/m id"], "ONBUILD": null}}',
        '{"config": {"OnBuild": ["ONBUILD RUN --mount=type=bind,target=/m id"]}}',
        '{"config": {"OnBuild": ["RUN \\\\\\n --mount=type=bind,target=/m id"]}}',
        "no JSON",
        "[" * 100_000,
    ],
)
def test_a_trigger_is_found_however_it_is_written(tmp_path: Path, text: str) -> None:
    configuration(tmp_path / "own", "ab" * 32, text)
    assert Triggers(tmp_path / "own", tmp_path / "cache").risky_flag("FROM other/name\n") != ""


def test_an_image_whose_configuration_comes_later_is_looked_at_again(tmp_path: Path) -> None:
    triggers = Triggers(tmp_path / "own", tmp_path / "cache")
    (tmp_path / "own" / "overlay-images" / "cd").mkdir(parents=True)
    configuration(tmp_path / "own", "ab", '{"config": {"OnBuild": ["RUN id"]}, "history": []}')
    assert triggers.risky_flag("FROM a/b") == ""
    shutil.rmtree(tmp_path / "own" / "overlay-images" / "cd")
    configuration(tmp_path / "own", "cd", '{"config": {"OnBuild": ["RUN --mount=type=cache,target=/m id"]}}')
    assert triggers.risky_flag("FROM a/b") == "--mount=type=cache,target=/m"


@pytest.mark.parametrize(
    ("dockerfile", "counts"),
    [
        ("FROM contoso.azurecr.io/node:15", False),
        ("FROM ${REGISTRY}/node", False),
        ("FROM node:15", False),
        ("FROM $BASE", True),
        ("FROM --platform=linux/amd64 abcd", True),
        ("FROM 'sha256:abcd'", True),
        ("RUN x <<E\nFROM ab${C}d\nE", True),
    ],
)
def test_an_image_of_the_cache_counts_where_it_may_be_named_by_its_id(
    tmp_path: Path, dockerfile: str, counts: bool
) -> None:
    configuration(tmp_path / "cache", "ab" * 32, '{"config": {"OnBuild": ["RUN --mount=type=bind,target=/m id"]}}')
    assert bool(Triggers(tmp_path / "own", tmp_path / "cache").risky_flag(dockerfile)) is counts


@pytest.mark.containers
def test_where_podman_is_mended_a_mount_is_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def confined(self: RunMounts) -> bool:
        return True

    monkeypatch.setattr(RunMounts, "are_confined", confined)
    (bench.context / "files").mkdir()
    (bench.context / "files" / "key").write_text("of-the-context")

    async def play() -> int:
        store = await bench.engine.prepare_run("ca1", {})
        image = await bench.base(store)
        mount = "--mount=type=bind,source=files,target=/m"
        (bench.context / "app").write_text(f"FROM {image}\nRUN {mount} /bin/busybox cat /m/key\n")
        code = await bench.build(store, "app")
        await store.close()
        return code

    assert bench.run(play()) == 0, bench.lines
    assert any("of-the-context" in line for line in bench.lines), bench.lines
