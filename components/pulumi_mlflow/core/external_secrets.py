"""Secrets that the External Secrets operator fetches from a vault, so that neither state nor program ever has them.

Fields are those of `external-secrets.io/v1` (operator 0.17 and later), https://external-secrets.io/latest/guides/templating/.
"""

from collections.abc import Iterable, Mapping
from typing import Any

PLACEHOLDER = "passwordOfTheVault"
"""Stands for the password while files are made: letters only, so that nothing encodes it."""

_OPEN = "{{"


def template(path: str, content: str) -> str:
    """A file as a template of the operator, which puts the password in the place of `PLACEHOLDER`.

    Args:
        path: where a container finds it.
        content: of the file. What looks like a template in it stays as it is.
    """
    # Go writes a space as `+`, which SQLAlchemy would take for a plus.
    steps = '.password | urlquery | replace "+" "%20"'
    if path.endswith(".ini"):
        # Python's configparser reads `%` as the beginning of a reference.
        steps += ' | replace "%" "%%"'
    literal = content.replace(_OPEN, '{{ "{{" }}')
    return literal.replace(PLACEHOLDER, f"{{{{ {steps} }}}}")


def specification(
    store: Mapping[str, str],
    remote: Mapping[str, Any],
    refresh: str,
    target: Any,
    templates: Any,
    keys: Iterable[str],
) -> dict[str, Any]:
    """Specification of an `ExternalSecret` of files with a password.

    It holds no secret: its templates are in a Secret too.

    Args:
        store: `name` and `kind` of the store that opens the vault.
        remote: `key` in the vault, and `property` of it.
        refresh: how often it is fetched, such as `1h`.
        target: name of the Secret that it makes.
        templates: name of the Secret with the templates.
        keys: keys of both.
    """
    return {
        "refreshInterval": refresh,
        "secretStoreRef": dict(store),
        "target": {
            "name": target,
            "creationPolicy": "Owner",
            "template": {
                "engineVersion": "v2",
                "templateFrom": [
                    {
                        "target": "Data",
                        "secret": {
                            "name": templates,
                            "items": [{"key": key, "templateAs": "Values"} for key in sorted(keys)],
                        },
                    }
                ],
            },
        },
        "data": [{"secretKey": "password", "remoteRef": dict(remote)}],
    }


def copied(
    store: Mapping[str, str], remote: Any, refresh: str, target: Any, key: str
) -> dict[str, Any]:
    """Specification of an `ExternalSecret` of one file: a secret of the vault as it is.

    Args:
        store: `name` and `kind` of the store that opens the vault.
        remote: its key in the vault.
        refresh: how often it is fetched, such as `5m`.
        target: name of the Secret that it makes.
        key: of that Secret.
    """
    return {
        "refreshInterval": refresh,
        "secretStoreRef": dict(store),
        "target": {"name": target, "creationPolicy": "Owner"},
        "data": [{"secretKey": key, "remoteRef": {"key": remote}}],
    }
