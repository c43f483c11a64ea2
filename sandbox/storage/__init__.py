"""Azure Storage on Azurite."""

from sandbox.storage.process import LIFELINE, AzuriteError
from sandbox.storage.service import Storage, azurite_script

__all__ = ["LIFELINE", "AzuriteError", "Storage", "azurite_script"]
