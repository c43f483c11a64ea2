"""The Azure Resource Manager operations of Azure Container Registry: registries, tokens, scope maps, imports."""
