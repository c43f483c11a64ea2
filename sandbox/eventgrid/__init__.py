"""Azure Event Grid: custom and system topics, event subscriptions, and delivery as reliable as in Azure."""

from __future__ import annotations

from sandbox.eventgrid.deadletters import Storage
from sandbox.eventgrid.event import Event
from sandbox.eventgrid.faults import Counts, FaultSettings
from sandbox.eventgrid.sending import FunctionKeys
from sandbox.eventgrid.service import EventGrid

__all__ = ["Counts", "Event", "EventGrid", "FaultSettings", "FunctionKeys", "Storage"]
