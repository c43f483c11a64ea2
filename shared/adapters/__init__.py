"""Touching Azure: one module a service, each fulfilling one port and translating the service's errors."""
