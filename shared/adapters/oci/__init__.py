"""Reads tags, and what is attached to digests, of any OCI registry. Responses are untrusted input."""

from shared.adapters.oci.client import OciTagReader
from shared.adapters.oci.referrers import OciReferrers
from shared.adapters.oci.transport import Limits, Network

__all__ = ["Limits", "Network", "OciReferrers", "OciTagReader"]
