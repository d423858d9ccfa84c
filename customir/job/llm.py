"""The LLM of a stage: on this machine with the fastest number of threads, or on servers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from customir import models
from customir.job import Job
from customir.workspace import content_key

if TYPE_CHECKING:
    from customir.llm import Engine, Llm


@contextmanager
def open_llm(job: Job, *, queries: int = 0) -> Iterator[tuple["Llm", str]]:
    """Open the LLM, on this machine or on servers, and yield it with its name in content keys.

    Args:
        queries: How many queries are to be written; with many, a faster weight format is suggested.
    """
    from customir.llm import Engine, Servers

    if urls := job.settings.llm_urls:
        with Servers(urls) as servers:
            job.reporter.say(f"  {servers.model} on {', '.join(urls)}")
            yield servers, content_key("served", servers.model)
        return
    with Engine(job.llm, device=job.settings.device, threads=job.threads) as engine:
        threads = job.settings.threads
        if not threads and not engine.on_gpu:
            threads = _tried_threads(job, engine)
            engine.set_threads(threads)
        if queries and not engine.on_gpu:
            _say_what_is_faster(job, threads, queries)
        yield engine, models.fingerprint(job.llm)


def _say_what_is_faster(job: Job, threads: int, queries: int) -> None:
    """Suggest a faster weight format of the LLM, measured once, if much is to be written."""
    from customir.llm.formats import advice, try_formats, worth_trying

    tried = None
    if worth_trying(job.llm, queries):
        key = content_key("formats", models.fingerprint(job.llm), threads)
        if key not in (found := job.workspace.results([key])):
            job.reporter.say("  trying the LLM's weights in other formats")
            found[key] = json.dumps(try_formats(job.llm, threads, job.folder)).encode()
            job.workspace.add_result(key, "formats", found[key])
        name, factor = json.loads(found[key])
        tried = name, factor
    if said := advice(job.llm, job.settings.llm, tried):
        job.reporter.say(f"  {said}")


def _tried_threads(job: Job, engine: "Engine") -> int:
    """The fastest number of threads, tried only once, so that a continued run writes the same texts."""
    from customir.llm import Usage
    from customir.llm.threads import fastest_threads

    key = content_key("threads", models.fingerprint(job.llm), job.threads)
    if found := job.workspace.results([key]):
        return int(found[key])
    threads = fastest_threads(engine)
    engine.usage = Usage()
    job.reporter.say(f"  the LLM is fastest with {threads} of {job.threads} threads")
    job.workspace.add_result(key, "threads", b"%d" % threads)
    return threads


def llm_fingerprint(job: Job) -> str:
    """The identity of the LLM, without asking a server."""
    if urls := job.settings.llm_urls:
        return content_key("served", *sorted(urls))
    return models.fingerprint(job.llm)
