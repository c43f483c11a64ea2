"""What acr-builder, the engine behind ACR Tasks, does with task files, held against what the sandbox does.

Each row of `rows/` is one behaviour, in this project's own words, with a small input and the file of acr-builder's
source (https://github.com/Azure/acr-builder, July 2026) from which it was read.
`rows/samples.toml` has the features of each of Azure's sample task files
(https://github.com/Azure-Samples/acr-tasks) instead; its sources are those files.
"""
