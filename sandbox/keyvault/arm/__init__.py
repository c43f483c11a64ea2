"""Key Vault as Azure Resource Manager sees it: vaults, and secrets without their values."""
