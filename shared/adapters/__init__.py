"""Adapters: one module for each external service. Each implements one port and translates the service's errors."""
