"""Azure Resource Manager: one surface, `management.azure.com`, that every resource provider adds its operations to."""
