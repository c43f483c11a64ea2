"""An embedded Azure Functions host for Python v2 apps: serves an unmodified app with the SDK's own converters.

`python -m sandbox.host --app DIR --name NAME --state DIR` starts one process that listens and one or more
worker processes that run the app.
"""
