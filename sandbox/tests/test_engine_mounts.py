"""`RUN --mount`: what may reach this machine is refused where podman lets it, and works where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.engine.run_mounts import RunMounts, risky_run_flag
from sandbox.tests.engine_bench import Bench

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
