"""Azure Key Vault: vaults, and the secrets in them."""

from sandbox.keyvault.vaults import Vaults

__all__ = ["Vaults"]
