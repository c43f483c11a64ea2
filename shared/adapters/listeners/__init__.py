"""Listeners of outcomes, one file for each kind. A further kind is one more file and its entry here."""

from shared.adapters.listeners.kind import ListenerKind
from shared.adapters.listeners.topic import Topic
from shared.adapters.listeners.webhook import Webhook

KINDS: tuple[type[ListenerKind], ...] = (Topic, Webhook)
