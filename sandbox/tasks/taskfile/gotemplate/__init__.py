"""Go templates with Sprig's functions, as acr-builder renders task files with them.

Sources: https://pkg.go.dev/text/template and https://masterminds.github.io/sprig/ (version 2.22)
"""
