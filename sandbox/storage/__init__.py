"""Azure Storage on Azurite."""

from sandbox.storage.process import AzuriteError
from sandbox.storage.service import Storage, azurite_script

__all__ = ["AzuriteError", "Storage", "azurite_script"]
