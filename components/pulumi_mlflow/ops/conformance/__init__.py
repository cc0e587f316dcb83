"""What every stack must do, whatever it is made of: one list, for `pulumi-mlflow verify` and for the tests.

Nothing but the training run, and a few runs beside it, in experiment `pulumi-mlflow-verify`, stays on the server: it is
what a person looks at next. Each behaviour may be proved again and again on the same server.
"""

from . import access, artifacts, names, runs, traces, training
from .behaviour import Behaviour, Level

BEHAVIOURS = (
    Behaviour("server answers", access.answers),
    Behaviour("anonymous is refused", access.refuses_anonymous, (access.answers,)),
    Behaviour("wrong login is refused", access.refuses_wrong_login, (access.answers,)),
    Behaviour("run: parameters, metrics", training.trains, (access.answers,)),
    Behaviour("run reads back", training.reads_back, (training.trains,)),
    Behaviour("run deleted, restored", runs.deletes_and_restores, (access.answers,)),
    Behaviour("tags", runs.keeps_tags, (access.answers,)),
    Behaviour("nested runs", runs.nests, (access.answers,)),
    Behaviour("dataset", runs.keeps_dataset, (access.answers,)),
    Behaviour("10 000 metrics by log_batch", runs.keeps_many_metrics, (access.answers,)),
    Behaviour("concurrent clients", runs.loses_no_write, (access.answers,)),
    Behaviour("trace", traces.keeps_trace, (access.answers,)),
    Behaviour("trace by OTLP", traces.takes_otlp, (access.answers,)),
    Behaviour("plot", training.logs_plot, (training.trains,)),
    Behaviour("model with signature", training.logs_model, (training.trains,)),
    Behaviour(f"registry alias '{training.ALIAS}'", training.registers, (training.logs_model,)),
    Behaviour(f"'{training.ALIAS}' predicts the same", training.predicts, (training.registers,)),
    Behaviour("100 MB artifact up", artifacts.uploads, (training.trains,)),
    Behaviour("100 MB artifact down", artifacts.downloads, (artifacts.uploads,)),
    Behaviour("hostile names", names.keeps_or_refuses, (access.answers,)),
    Behaviour("no path out of the artifacts", names.stays_in_its_folder, (access.answers,)),
    Behaviour("no webhooks", access.sends_no_webhooks, (access.answers,)),
    Behaviour("search finds the run", training.ends, (training.trains,)),
    Behaviour(
        "anonymous is refused, every spelling",
        access.refuses_variants,
        (access.answers,),
        Level.FULL,
    ),
    Behaviour(
        "wrong login is refused, every route",
        access.refuses_wrong_login_everywhere,
        (access.answers,),
        Level.FULL,
    ),
    Behaviour(
        "login passes, every route and spelling",
        access.lets_in_everywhere,
        (access.answers,),
        Level.FULL,
    ),
    Behaviour("1.2 GB artifact up, down", artifacts.carries_large, (access.answers,), Level.LARGE),
)
"""In the order in which they are proved."""

__all__ = ["BEHAVIOURS", "Behaviour", "Level"]
