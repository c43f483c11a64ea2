"""Every adapter against a running sandbox, through the Azure SDKs that it uses in Azure."""
