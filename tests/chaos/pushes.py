"""The upstream's maintainers: they push new digests under a few tags, some for a moment, some to stay."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from contextlib import closing
from copy import deepcopy
from random import Random
from typing import Any

import msgspec
from azure.containerregistry import ContainerRegistryClient
from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential

from demo import scenario

BAD = "Red"
TAGS = (scenario.STABLE, "15-a", "15-b", "15-c")
"""The app is built on the first one: each push to it costs a build and a deployment as well."""

_REPOSITORY = "node"
_PATIENCE_SECONDS = 90.0


class Push(msgspec.Struct, kw_only=True):
    """One digest under one tag.

    It was acknowledged at `since`, and the next push of the tag began at `until`: seconds since the epoch, 0 for never.
    """

    tag: str
    digest: str
    colour: str
    since: float
    until: float = 0.0

    def stood(self, now: float) -> float:
        """For how many seconds the tag certainly pointed to the digest."""
        return (self.until or now) - self.since


class Pushes:
    """Pushes until it is stopped, then once more under each tag an image that passes.

    A push is a new config on the layers of the scenario's image, sent with the SDK, and retried while the
    registry is unavailable.

    Args:
        draw: decides what is pushed, where and for how long.
        stay_seconds: the minimum time under its tag of a digest that is to stay.
    """

    def __init__(self, draw: Random, stay_seconds: float) -> None:
        self._draw, self._stay = draw, stay_seconds
        self._credential = DefaultAzureCredential()
        self._client = ContainerRegistryClient(f"https://{scenario.PUBLIC}.azurecr.io", self._credential)
        self._manifest, self._config = self._image()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pushes")
        self.made: list[Push] = []
        self.problems: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Let it push for the last time and end, without waiting."""
        self._stopping.set()

    def stop(self) -> None:
        """End, and wait until the last push is done."""
        self._stopping.set()
        self._thread.join()

    def close(self) -> None:
        """End, and close the connections."""
        if self._thread.is_alive():
            self.stop()
        self._client.close()
        self._credential.close()

    def _run(self) -> None:
        due = dict.fromkeys(TAGS, 0.0)
        while not self._stopping.wait(0.1):
            tag = min(due, key=lambda name: due[name])
            if due[tag] <= time.monotonic():
                self._push(tag, BAD if self._draw.random() < 0.2 else "Green")
                due[tag] = time.monotonic() + self._pause(tag)
        for tag in TAGS:
            self._push(tag, "Green")

    def _pause(self, tag: str) -> float:
        if tag != TAGS[0] and self._draw.random() < 0.6:
            return self._draw.uniform(1.0, 6.0)
        return self._stay * self._draw.uniform(1.1, 1.6) * (2 if tag == TAGS[0] else 1)

    def _push(self, tag: str, colour: str) -> None:
        """Push, and retry until it is acknowledged. A failed try may have arrived: a retry has the same digest."""
        manifest, config = self._variant(colour)
        body = json.dumps(manifest).encode()
        push = Push(tag=tag, digest=f"sha256:{hashlib.sha256(body).hexdigest()}", colour=colour, since=0.0)
        before = next((one for one in reversed(self.made) if one.tag == tag), None)
        if before:
            before.until = time.time()
        self.made.append(push)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._client.upload_blob(_REPOSITORY, io.BytesIO(config))
                media_type = manifest["mediaType"]
                self._client.set_manifest(_REPOSITORY, io.BytesIO(body), tag=tag, media_type=media_type)
            except (AzureError, OSError, ValueError) as error:
                if time.monotonic() > deadline:
                    self.problems.append(f"a push of {tag} was refused for {_PATIENCE_SECONDS:.0f} s: {error}")
                    return
                time.sleep(0.3)
            else:
                push.since = time.time()
                return

    def _variant(self, colour: str) -> tuple[dict[str, Any], bytes]:
        config, manifest = deepcopy(self._config), deepcopy(self._manifest)
        kept = [value for value in config["config"]["Env"] if not value.startswith("BACKGROUND_COLOR=")]
        config["config"]["Env"] = [*kept, f"BACKGROUND_COLOR={colour}"]
        config["config"]["Labels"] = {"push": f"{len(self.made)}-{self._draw.getrandbits(64):016x}"}
        content = json.dumps(config).encode()
        manifest["config"] |= {"digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
        return manifest, content

    def _image(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The scenario's upstream image: its manifest, and its config."""
        got = self._client.get_manifest(_REPOSITORY, scenario.STABLE)
        manifest = {"mediaType": got.media_type, **(got.manifest or {})}
        with closing(io.BytesIO()) as content:
            for chunk in self._client.download_blob(_REPOSITORY, manifest["config"]["digest"]):
                content.write(chunk)
            return manifest, json.loads(content.getvalue())
