"""A Functions app that uses everything the host serves; its functions leave what they saw in files below NOTES."""

import json
import logging
import os
import signal
import subprocess
import threading
import time
import typing
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
jobs = func.Blueprint()
log = logging.getLogger("sample")


def note(name: str, **what: typing.Any) -> None:
    file = Path(os.environ["NOTES"]) / f"{name}.jsonl"
    with file.open("a") as out:
        out.write(json.dumps({"pid": os.getpid(), **what}) + "\n")


@app.route(route="echo/{kind:int}/{name?}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    log.info("echo of %s \udc80", req.route_params["kind"])
    seen = {
        "method": req.method,
        "url": req.url,
        "params": dict(req.params),
        "route": dict(req.route_params),
        "agent": req.headers.get("X-Agent"),
        "body": req.get_body().decode(),
        "invocation": context.invocation_id,
        "trace": context.trace_context.trace_parent,
        "function": context.function_name,
    }
    headers = {"X-Seen": "yes", "Set-Cookie": "flavour=oat; Path=/"}
    return func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json", headers=headers)


@app.route(methods=["GET"])
async def keyed(req: func.HttpRequest) -> str:
    return "in"


@app.route(auth_level=func.AuthLevel.ADMIN)
def master(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("in")


@app.route(route="files/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
def files(req: func.HttpRequest) -> str:
    return str(req.route_params.get("path", ""))


@app.route(route="nothing", auth_level=func.AuthLevel.ANONYMOUS)
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None  # type: ignore[return-value]  # what the host must not take


@app.route(route="leave", auth_level=func.AuthLevel.ANONYMOUS)
def leave(req: func.HttpRequest) -> func.HttpResponse:
    subprocess.Popen(["sleep", "600"])  # must not keep the host from noticing
    os.kill(os.getpid(), signal.SIGKILL)
    return func.HttpResponse("never")


@app.route(route="hang", auth_level=func.AuthLevel.ANONYMOUS)
def hang(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(3600)
    return func.HttpResponse("never")


@app.route(route="thread", auth_level=func.AuthLevel.ANONYMOUS)
def thread(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    def work() -> None:
        context.thread_local_storage.invocation_id = context.invocation_id  # type: ignore[attr-defined]
        log.warning("from a thread")

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    print("printed")
    return func.HttpResponse("ok")


@app.route(route="enqueue", auth_level=func.AuthLevel.ANONYMOUS)
@app.queue_output(arg_name="out", queue_name="%JOBS%", connection="Store")
def enqueue(req: func.HttpRequest, out: func.Out[typing.List[str]]) -> func.HttpResponse:  # noqa: UP006 (the worker knows no list[str])
    out.set(req.get_json())
    if req.params.get("fail"):
        raise RuntimeError("after the output was set")
    return func.HttpResponse("queued")


@app.function_name("image-events")
@app.event_grid_trigger(arg_name="event")
@app.queue_output(arg_name="out", queue_name="%JOBS%", connection="Store")
async def image_events(event: func.EventGridEvent, out: func.Out[bytes]) -> None:
    note("events", id=event.id, topic=event.topic, type=event.event_type, data=event.get_json())
    if event.subject == "bad":
        raise ValueError("a bad event")
    if event.subject == "forward":
        out.set(json.dumps({"from": event.id}).encode())


@app.function_name("cloud-events")
@app.event_grid_trigger(arg_name="event")
def cloud_events(event: func.CloudEvent) -> None:
    note("cloud", id=event.id, source=event.source)


@jobs.queue_trigger(arg_name="msg", queue_name="%JOBS%", connection="Store")
@jobs.queue_output(arg_name="$return", queue_name="results", connection="Store")
def work(msg: func.QueueMessage) -> str:
    text = msg.get_body().decode()
    note("jobs", text=text, count=msg.dequeue_count, id=msg.id, inserted=str(msg.insertion_time))
    if text == "die once" and msg.dequeue_count == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "hang":
        time.sleep(3600)
    if text == "slow":
        time.sleep(1)
    if text == "bad":
        raise RuntimeError("a bad message")
    return f"done: {text}"


@jobs.function_name("buried")
@jobs.queue_trigger(arg_name="text", queue_name="%JOBS%-poison", connection="Store")
def bury(text: str) -> None:
    note("poison", text=text)


@jobs.timer_trigger(arg_name="timer", schedule="%SWEEP%", run_on_startup=True)
def sweep(timer: func.TimerRequest) -> None:
    note("sweeps", past_due=timer.past_due, status=timer.schedule_status)  # type: ignore[attr-defined]


app.register_functions(jobs)
