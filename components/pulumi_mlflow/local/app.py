"""MLflow's app as the local runtime serves it: without what runs programs of this machine.

No front door stands before it, and every program and user of the machine reaches its port.
"""

import json
import re
from typing import Any

from ..core import outgoing

NAME = "pulumi-mlflow"
"""Under this name `mlflow server --app-name` finds `create_app`, by the files of `entry_point`."""


def entry_point() -> dict[str, str]:
    """Files that make a folder of PYTHONPATH a package that offers `create_app` to MLflow: name → content."""
    folder = f"{NAME.replace('-', '_')}_app-1.dist-info"
    return {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}-app\nVersion: 1\n",
        f"{folder}/entry_points.txt": f"[mlflow.app]\n{NAME} = {__name__}:create_app\n",
    }


def create_app() -> Any:
    """MLflow's FastAPI app that refuses `outgoing.REFUSED_PATHS`."""
    from mlflow.server.fastapi_app import app  # noqa: PLC0415, in each worker, where it takes seconds

    app.add_middleware(Refusal)
    return app


class Refusal:
    """ASGI middleware that answers 403 to what is refused.

    Args:
        app: what answers all else.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        why = refusal(scope.get("path", ""))
        if why is None or scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = json.dumps({"error_code": "PERMISSION_DENIED", "message": why}).encode()
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": body})


def refusal(path: str) -> str | None:
    """Why a path is refused, or None.

    Args:
        path: decoded, as the server's routes see it.
    """
    plain = re.sub("/+", "/", path)
    for prefix, why in outgoing.REFUSED_PATHS.items():
        if plain == prefix or plain.startswith(f"{prefix}/"):
            return why
    return None
