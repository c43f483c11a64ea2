"""A local Azure emulator that works with an unmodified app, the Azure SDKs and the `az` CLI.

It serves Azure's real host names behind one loopback port, and does the real work: container
registries, image builds, task runs, container groups, tables, queues and blobs.
"""
