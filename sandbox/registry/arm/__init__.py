"""Azure Container Registry as Azure Resource Manager sees it: registries, tokens, scope maps, imports."""
