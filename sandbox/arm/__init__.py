"""Azure Resource Manager: one surface, `management.azure.com`, to which resource providers add their operations."""
