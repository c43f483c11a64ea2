"""The yardstick: runs the commands of Microsoft's article with the real `az` against a running sandbox."""
