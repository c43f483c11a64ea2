"""Basegate: the one FunctionApp, with its blueprints in the order in which an event reaches them."""

import azure.functions as func

from functions import board, drift_timer, operator_api, registry_events, work

app = func.FunctionApp()
app.register_functions(registry_events.blueprint)
app.register_functions(work.blueprint)
app.register_functions(drift_timer.blueprint)
app.register_functions(operator_api.blueprint)
app.register_functions(board.blueprint)
