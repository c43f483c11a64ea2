"""Event Grid as Azure Resource Manager sees it: topics, system topics, topic types, subscriptions."""
