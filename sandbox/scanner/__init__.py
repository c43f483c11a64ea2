"""`osv-match`: a small stand-in for a vulnerability scanner, for machines that can pull no scanner image.

It reads which packages an image has (dpkg, apk, npm, PyPI) from the image's layers, matches them with a folder of OSV
advisories, and writes a report in the JSON of Trivy. It is no scanner to rely on: it knows the advisories of its folder
and nothing else, and its report says how many those are.

The package imports nothing but the standard library and `univers`, so that it fits into a small image of its own.
"""
