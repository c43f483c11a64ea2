"""A local Azure: good enough that an unmodified app, the Azure SDKs and the `az` CLI work against it.

It answers to Azure's real host names behind one loopback port, and does the work for real: container
registries, image builds, task runs, container groups, tables, queues and blobs.
"""
