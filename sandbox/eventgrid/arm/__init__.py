"""Event Grid in Azure Resource Manager: topics, system topics, topic types, event subscriptions."""
