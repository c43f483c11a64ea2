"""Azure Key Vault: vaults, and the secrets and keys in them."""

from sandbox.keyvault.vaults import Vaults

__all__ = ["Vaults"]
