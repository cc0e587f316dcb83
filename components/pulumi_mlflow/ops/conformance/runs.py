"""What the tracking server keeps of runs."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

from .behaviour import CheckError
from .server import Server

METRICS = 10_000
_BATCH = 1000
"""The most that MLflow takes in one `log_batch`."""

CLIENTS = 8
WRITES = 25
"""Of each client, in each of three ways."""


def deletes_and_restores(server: Server) -> str:
    """A deleted run is gone from searches until it is restored."""
    client, run_id = server.client, server.new_run("deleted and restored")
    client.log_metric(run_id, "kept", 0.5)
    query = f"attributes.run_id = '{run_id}'"

    def found(view: int) -> list[str]:
        runs = client.search_runs([server.experiment_id()], query, run_view_type=view)
        return [run.info.run_id for run in runs]

    from mlflow.entities import ViewType  # noqa: PLC0415

    client.delete_run(run_id)
    if found(ViewType.ACTIVE_ONLY) or found(ViewType.DELETED_ONLY) != [run_id]:
        raise CheckError(f"run {run_id} was deleted, and searches do not say so")
    client.restore_run(run_id)
    if found(ViewType.ACTIVE_ONLY) != [run_id]:
        raise CheckError(f"run {run_id} was restored, and no search finds it")
    if client.get_run(run_id).data.metrics != {"kept": 0.5}:
        raise CheckError(f"run {run_id} came back without its metric")
    client.set_terminated(run_id)
    return f"run {run_id}"


def keeps_tags(server: Server) -> str:
    """Tags of runs and experiments are set, changed, searched by and deleted."""
    client, run_id = server.client, server.new_run("tags")
    client.set_tag(run_id, "purpose", "first")
    client.set_tag(run_id, "purpose", f"verify-{server.mark}")
    client.set_tag(run_id, "gone", "soon")
    client.delete_tag(run_id, "gone")
    experiment = server.experiment_id()
    client.set_experiment_tag(experiment, "verified", server.mark)
    query = f"tags.purpose = 'verify-{server.mark}'"
    found = [run.info.run_id for run in client.search_runs([experiment], query)]
    if found != [run_id]:
        raise CheckError(f"searched by a tag: run {run_id} wanted, found {found}")
    if "gone" in client.get_run(run_id).data.tags:
        raise CheckError("a deleted tag is still there")
    if client.get_experiment(experiment).tags.get("verified") != server.mark:
        raise CheckError("the experiment's tag is not there")
    client.set_terminated(run_id)
    return "set, changed, searched, deleted"


def nests(server: Server) -> str:
    """Children are found by their parent."""
    parent = server.new_run("parent")
    children = {server.new_run(f"child {number}", parent) for number in range(3)}
    query = f"tags.mlflow.parentRunId = '{parent}'"
    found = {r.info.run_id for r in server.client.search_runs([server.experiment_id()], query)}
    if found != children:
        raise CheckError(f"{len(found)} of {len(children)} children found")
    for run_id in (*children, parent):
        server.client.set_terminated(run_id)
    return f"{len(children)} children"


def keeps_dataset(server: Server) -> str:
    """A run's input says which data it was, with schema, profile and context."""
    import mlflow  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    from mlflow.data import numpy_dataset  # noqa: PLC0415

    run_id = server.new_run("dataset")
    dataset = numpy_dataset.from_numpy(
        np.arange(6.0).reshape(3, 2), targets=np.arange(3), name=f"Daten ü-{server.mark}"
    )
    with mlflow.start_run(run_id=run_id):
        mlflow.log_input(dataset, context="training", tags={"split": "all"})
    inputs = server.client.get_run(run_id).inputs.dataset_inputs
    if len(inputs) != 1:
        raise CheckError(f"1 dataset logged, {len(inputs)} found")
    found, tags = inputs[0].dataset, {tag.key: tag.value for tag in inputs[0].tags}
    if (found.name, found.digest) != (dataset.name, dataset.digest):
        raise CheckError(
            f"logged {dataset.name} {dataset.digest}, found {found.name} {found.digest}"
        )
    if tags != {"mlflow.data.context": "training", "split": "all"}:
        raise CheckError(f"the input's tags came back as {tags}")
    query = f"dataset.name = '{dataset.name}' and dataset.context = 'training'"
    if len(server.client.search_runs([server.experiment_id()], query)) != 1:
        raise CheckError("no search finds the run by its dataset")
    return f"{found.name}, digest {found.digest}"


def keeps_many_metrics(server: Server) -> str:
    """Ten thousand values of one metric, by `log_batch`, come back as they were, in order."""
    from mlflow.entities import Metric  # noqa: PLC0415

    client, run_id = server.client, server.new_run("many metrics")
    values = [math.sin(step / 100) * 1e-3 for step in range(METRICS)]
    for start in range(0, METRICS, _BATCH):
        steps = range(start, start + _BATCH)
        client.log_batch(
            run_id, [Metric("wave", values[s], 1_700_000_000_000 + s, s) for s in steps]
        )
    history = sorted(client.get_metric_history(run_id, "wave"), key=lambda m: m.step)
    found = [metric.value for metric in history]
    if len(found) != METRICS:
        raise CheckError(f"{METRICS} logged, {len(found)} found")
    wrong = sum(a != b for a, b in zip(values, found, strict=True))
    if wrong:
        raise CheckError(f"{wrong} of {METRICS} values came back changed")
    last = client.get_run(run_id).data.metrics["wave"]
    if last != values[-1]:
        raise CheckError(f"the latest value is {last}, not {values[-1]}")
    client.set_terminated(run_id)
    return f"{METRICS} values"


def loses_no_write(server: Server) -> str:
    """Clients that write to one run, and to runs of their own, at the same time lose nothing."""
    client, shared = server.client, server.new_run("concurrent clients")
    own = [server.new_run(f"client {number}") for number in range(CLIENTS)]
    together = threading.Barrier(CLIENTS)

    def write(number: int) -> None:
        together.wait(60)
        for step in range(WRITES):
            client.log_metric(shared, f"of-{number}", step, step=step)
            client.log_metric(shared, "of-all", number * WRITES + step, step=number * WRITES + step)
            client.log_param(own[number], f"p{step}", f"{number}-{step}")

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(write, range(CLIENTS)))
    for number in range(CLIENTS):
        steps = sorted(m.step for m in client.get_metric_history(shared, f"of-{number}"))
        if steps != list(range(WRITES)):
            raise CheckError(f"client {number}: {WRITES} values logged, {len(steps)} found")
        params = client.get_run(own[number]).data.params
        if params != {f"p{step}": f"{number}-{step}" for step in range(WRITES)}:
            raise CheckError(f"client {number}: {WRITES} parameters logged, {len(params)} found")
    everything = sorted(m.value for m in client.get_metric_history(shared, "of-all"))
    if everything != [float(value) for value in range(CLIENTS * WRITES)]:
        raise CheckError(f"{CLIENTS * WRITES} values in one metric, {len(everything)} found")
    for run_id in (shared, *own):
        client.set_terminated(run_id)
    return f"{CLIENTS} clients, {3 * CLIENTS * WRITES} writes"
