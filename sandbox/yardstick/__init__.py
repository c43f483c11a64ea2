"""The yardstick: does the real `az` do, against a running sandbox, what Microsoft's article does against Azure?"""
