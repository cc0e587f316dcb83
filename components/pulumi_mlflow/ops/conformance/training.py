"""A real training run, from its first parameter to the model that its alias names."""

from .behaviour import CheckError
from .server import Server

MODEL = "pulumi-mlflow-verify"
ALIAS = "champion"
EPOCHS = 20


def trains(server: Server) -> str:
    """A classifier of handwritten digits, with its accuracy logged after each epoch."""
    import mlflow  # noqa: PLC0415, takes seconds, and only this command needs it
    from sklearn.datasets import load_digits  # noqa: PLC0415
    from sklearn.linear_model import SGDClassifier  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    run = server.training
    digits = load_digits(as_frame=True)
    # Pixels are 0..16.
    train, run.inputs, labels, truth = train_test_split(
        digits.data / 16, digits.target, random_state=0
    )
    run.model = SGDClassifier(loss="log_loss", random_state=0)
    run.params = {"loss": "log_loss", "epochs": str(EPOCHS), "alpha": str(run.model.alpha)}
    run.run_id = server.new_run("verify")
    with mlflow.start_run(run_id=run.run_id):
        mlflow.log_params(run.params)
        for epoch in range(EPOCHS):
            run.model.partial_fit(train, labels, classes=digits.target.unique())
            run.accuracy.append(float(run.model.score(run.inputs, truth)))
            mlflow.log_metric("accuracy", run.accuracy[-1], step=epoch)
    return f"{EPOCHS} epochs, accuracy {run.accuracy[-1]:.3f}"


def reads_back(server: Server) -> str:
    """What the server has is what was logged."""
    run = server.training
    found = server.client.get_run(run.run_id).data.params
    if found != run.params:
        raise CheckError(f"parameters: logged {run.params}, found {found}")
    history = server.client.get_metric_history(run.run_id, "accuracy")
    values = [m.value for m in sorted(history, key=lambda m: m.step)]
    if values != run.accuracy:
        raise CheckError(f"accuracy: logged {run.accuracy}, found {values}")
    return f"{len(found)} parameters, {len(values)} steps"


def logs_plot(server: Server) -> str:
    """A figure goes up and comes back as a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    # Without pyplot: no display is looked for.
    figure = Figure()
    figure.subplots().plot(server.training.accuracy)
    server.client.log_figure(server.training.run_id, figure, "plots/accuracy.png")
    content = server.download(server.training.run_id, "plots/accuracy.png").read_bytes()
    if not content.startswith(b"\x89PNG"):
        raise CheckError(f"came back as {content[:8]!r}, which is no PNG")
    return f"{len(content) / 1e3:.0f} kB"


def logs_model(server: Server) -> str:
    """The model goes up, and its signature is read back."""
    import mlflow  # noqa: PLC0415
    import sklearn  # noqa: PLC0415

    run = server.training
    signature = mlflow.models.infer_signature(run.inputs, run.model.predict(run.inputs))
    with mlflow.start_run(run_id=run.run_id):
        logged = mlflow.sklearn.log_model(
            run.model,
            name="digits",
            signature=signature,
            input_example=run.inputs.head(3),
            # Given, or MLflow would find them out in a second Python process.
            pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
        )
    run.model_uri = logged.model_uri
    found = mlflow.models.get_model_info(run.model_uri)
    if found.signature != signature:
        raise CheckError(f"signature: logged {signature}, found {found.signature}")
    if not found.saved_input_example_info:
        raise CheckError("the input example is gone")
    return f"{len(signature.inputs)} inputs, {len(signature.outputs)} output"


def registers(server: Server) -> str:
    """A new version of the registered model gets the alias."""
    import mlflow  # noqa: PLC0415

    run, client = server.training, server.client
    try:
        client.create_registered_model(MODEL)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        MODEL, run.model_uri, run.run_id, model_id=run.model_uri.rsplit("/", 1)[-1]
    )
    run.version = made.version
    client.set_registered_model_alias(MODEL, ALIAS, run.version)
    found = client.get_model_version_by_alias(MODEL, ALIAS)
    if found.version != run.version:
        raise CheckError(f"'{ALIAS}' is version {found.version}, not {run.version}")
    return f"{MODEL} version {run.version}"


def predicts(server: Server) -> str:
    """The model that the alias names predicts what the trained one does."""
    import mlflow  # noqa: PLC0415

    run = server.training
    loaded = mlflow.pyfunc.load_model(f"models:/{MODEL}@{ALIAS}")
    expected, found = run.model.predict(run.inputs), loaded.predict(run.inputs)
    if list(expected) != list(found):
        raise CheckError(f"{(expected != found).sum()} of {len(expected)} predictions differ")
    return f"{len(expected)} predictions"


def ends(server: Server) -> str:
    """The run is found as finished by a search over its metric."""
    run_id = server.training.run_id
    server.client.set_terminated(run_id)
    found = server.client.search_runs(
        [server.experiment_id()],
        f"metrics.accuracy > 0 and attributes.status = 'FINISHED' and attributes.run_id = '{run_id}'",
    )
    if [r.info.run_id for r in found] != [run_id]:
        raise CheckError(f"run {run_id} is not among the search's results")
    return f"run {run_id}"
