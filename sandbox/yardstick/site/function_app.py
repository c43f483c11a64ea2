"""A function app for the yardstick: it accepts whatever a webhook or Event Grid sends."""

import azure.functions as func

app = func.FunctionApp()


@app.route(route="hook", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def hook(req: func.HttpRequest) -> func.HttpResponse:
    """Accept an event of a registry's webhook."""
    return func.HttpResponse(status_code=200)


@app.event_grid_trigger(arg_name="event")
def events(event: str) -> None:
    """Accept an event of Event Grid."""
