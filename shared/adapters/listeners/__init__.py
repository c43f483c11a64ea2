"""Who hears outcomes, one file a kind: a further kind is one more file, and one more entry here."""

from shared.adapters.listeners.kind import ListenerKind
from shared.adapters.listeners.topic import Topic
from shared.adapters.listeners.webhook import Webhook

KINDS: tuple[ListenerKind, ...] = (Topic(), Webhook())
