"""`make spec-examples`: the examples of Azure's REST specifications, sent to a sandbox.

Each example of an operation of an emulated service becomes one request, and the response must fit what the same file
says of it. What a caller cannot choose is replaced (the subscription, the id of a run, an address that events go to),
and what the example takes for granted is created before it. Requests that are the same are sent once.
"""
