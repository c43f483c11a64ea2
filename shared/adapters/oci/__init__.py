"""Reading the tags of any OCI registry. What comes from one is input from outside, and is treated so."""

from shared.adapters.oci.client import OciTagReader
from shared.adapters.oci.exchange import Limits, Network

__all__ = ["Limits", "Network", "OciTagReader"]
