"""A browser, and a stack to look at: with a login by password first, then by an identity provider."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import mlflow
import pytest
from playwright.sync_api import Browser, sync_playwright
from sklearn.linear_model import LogisticRegression
from tests.browser.page import Watched
from tests.docker.identity import Issuer, issuer
from tests.docker.neighbours import this_machine
from tests.docker.stack import DockerStack, dev_settings
from tests.support import tool

from pulumi_mlflow.docker import engine

EXPERIMENT = "digits"
MODEL = "digits-classifier"
NOTES = "Trained on handwritten digits."
SECRET = "correct horse battery staple"

_FLAGS = (
    "--no-sandbox",  # root has none to put the browser into
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # The browser's own questions to its maker, which closed networks refuse.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Opened = AbstractContextManager[Watched]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=tool("chromium"), args=list(_FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory) -> Iterator[DockerStack]:
    """The smallest stack there is, and two training runs to look at."""
    settings = dev_settings() | {"database": {"engine": "sqlite"}, "artifacts": {"store": "folder"}}
    made = DockerStack(engine.connect(), tmp_path_factory.mktemp("browser") / "project", settings)
    try:
        made.up()
        with made.mlflow():
            train()
        yield made
    finally:
        made.close()


def train() -> None:
    """What a person looks at: parameters, a curve, a text, a registered model."""
    experiment = mlflow.set_experiment(EXPERIMENT)
    client = mlflow.MlflowClient()
    # Else the pages first find out what kind of experiment it is.
    client.set_experiment_tag(
        experiment.experiment_id, "mlflow.experimentKind", "custom_model_development"
    )
    for rate in (0.1, 0.3):
        with mlflow.start_run(run_name=f"rate-{rate}"):
            mlflow.log_params({"rate": rate, "epochs": 30})
            for epoch in range(30):
                mlflow.log_metric("accuracy", 1 - 0.9 / (1 + rate * epoch), step=epoch)
            mlflow.log_text(f"{NOTES}\n", "notes.txt")
            mlflow.sklearn.log_model(
                LogisticRegression().fit([[0.0], [1.0]], [0, 1]),
                name="model",
                registered_model_name=MODEL,
                pip_requirements=["scikit-learn"],
            )
    client.set_registered_model_alias(MODEL, "champion", "2")


@contextlib.contextmanager
def watched(browser: Browser, url: str, **options: Any) -> Iterator[Watched]:
    """A page in a browser that nobody has used before."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
    context.set_default_timeout(60_000)
    try:
        yield Watched(context.new_page(), url)
    finally:
        context.close()


@pytest.fixture(scope="session")
def by_password(browser, stack) -> Callable[[], Opened]:
    """Opens a page of somebody who gives the browser name and password."""
    outputs = stack.outputs()
    login = {"username": outputs["username"], "password": outputs["password"]}
    return lambda **given: watched(browser, stack.url, http_credentials={**login, **given})


@pytest.fixture(scope="session")
def by_provider(browser, stack) -> Iterator[tuple[Callable[[], Opened], Issuer]]:
    """Switches the stack to a login at an identity provider; opens a page of somebody who is not logged in."""
    with issuer(this_machine(stack.client)) as provider:
        stack.settings["access"] = {
            "auth": "oidc",
            "port": stack.settings["access"]["port"],
            "oidc": {"issuer": provider.url, "client_id": "mlflow"},
        }
        stack.configure(stack.settings)
        stack.pulumi("config", "set", "--secret", "mlflow:oidc_client_secret", SECRET)
        stack.up()
        yield lambda: watched(browser, stack.url), provider


@pytest.fixture(scope="session")
def pictures() -> bool:
    """Whether pictures are taken for the docs."""
    return os.environ.get("SCREENSHOTS") == "1"
