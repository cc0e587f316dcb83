"""How rows of bad_prod.yaml become settings: what a row changes, in one of the stacks of cloud.py."""

from pathlib import Path

import yaml
from tests.stacks import cloud

TABLE = yaml.safe_load(Path(__file__).with_name("bad_prod.yaml").read_text())
ROWS = [*TABLE["rules"], *TABLE["more"]]
BASES = {"aws": cloud.AWS, "cluster": cloud.AWS_CLUSTER, "kubernetes": cloud.KUBERNETES}


def config_of(row):
    """A row's settings, secrets among them; `secrets` are those beside or, if empty, instead of the provider's.

    A mapping of them says their values.
    """
    changed = cloud.merged(BASES[row["base"]], row["change"])
    secrets = row.get("secrets")
    if secrets == []:
        del changed["oidc_client_secret"]
    if not isinstance(secrets, dict):
        secrets = dict.fromkeys(secrets or (), "typed by somebody")
    return {**changed, **secrets}
