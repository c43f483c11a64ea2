"""The Azure Resource Manager operations of Key Vault: vaults, and secrets without their values."""
