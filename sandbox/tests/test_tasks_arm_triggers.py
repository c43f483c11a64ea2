"""What starts tasks by itself: commits, timers, new base images."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from azure.core.exceptions import HttpResponseError

from sandbox.git import GitPush
from sandbox.tests.tasks_world import BASE, GROUP, REGISTRY, FakePush, World, world

__all__ = ["world"]


def test_a_commit_starts_the_tasks_that_watch_its_branch(world: World) -> None:
    world.release()
    world.create()
    world.create("disabled", status="Disabled")
    push = GitPush("contoso/app", "feature", "f" * 40, "Try")
    world.live.run(world.tasks.on_commit(push))
    world.live.run(world.tasks.on_commit(GitPush("contoso/other", "main", "f" * 40, "Other")))
    assert world.runs() == []
    commit = world.live.run(world.github.checkout("contoso/app", "main", world.live.instance.root / "clone"))
    world.live.run(world.tasks.on_commit(GitPush("contoso/app", "main", commit, "Change")))
    run = world.ended("ca1")
    assert (run.status, run.run_type, run.task) == ("Succeeded", "AutoRun", "build-app")
    trigger = run.source_trigger
    assert (trigger.event_type, trigger.commit_id, trigger.branch_name) == ("commit", commit, "main")
    assert world.runner.ran[0].run.commit == commit
    with pytest.raises(HttpResponseError, match="disabled"):
        world.run("disabled")


def test_a_timer_starts_its_task_once_an_occurrence(world: World) -> None:
    world.release()
    timers = [
        {"name": "hourly", "schedule": "0 * * * *", "status": "Enabled"},
        {"name": "never", "schedule": "* * * * *", "status": "Disabled"},
    ]
    world.create(trigger={"timerTriggers": timers})
    world.clock.time += timedelta(seconds=20)
    run = world.ended(world.first_run())
    assert run.timer_trigger.timer_trigger_name == "hourly"
    assert run.timer_trigger.schedule_occurrence == "2026-01-01T12:00:00Z"
    world.clock.time += timedelta(minutes=10)
    time.sleep(0.1)  # several looks
    assert world.runs() == ["ca1"]


def test_a_new_base_image_starts_the_tasks_built_upon_it(world: World) -> None:
    world.release()
    world.create()
    push = FakePush()
    world.live.run(world.tasks.on_push(push))
    assert world.runs() == []  # no run has succeeded yet, so nobody knows what the task builds upon
    world.ended(world.run().properties.run_id)
    step = world.client.tasks.get(GROUP, REGISTRY, "build-app").properties.step
    assert [(image.type, image.digest) for image in step.base_image_dependencies] == [("RunTime", BASE.digest)]
    for ignored in (
        FakePush(tag=None),
        FakePush(action="delete"),
        FakePush(user_agent="importImage"),
        FakePush(tag="16-alpine"),
        FakePush(digest=BASE.digest),
        FakePush(registry="contoso"),
    ):
        world.live.run(world.tasks.on_push(ignored))
    assert world.runs() == ["ca1"]
    world.live.run(world.tasks.on_push(push))
    world.live.run(world.tasks.on_push(push))
    assert world.runs() == ["ca2", "ca1"]
    run = world.ended("ca2")
    assert run.run_type == "AutoRun"
    assert [(image.repository, image.digest) for image in run.image_update_trigger.images] == [("node", push.digest)]
    disabled = {"properties": {"trigger": {"baseImageTrigger": {"name": "base", "status": "Disabled"}}}}
    world.client.tasks.update(GROUP, REGISTRY, "build-app", disabled)
    world.live.run(world.tasks.on_push(FakePush(digest="sha256:" + "4" * 64)))
    assert world.runs() == ["ca2", "ca1"]
