"""MLflow's artifact stores, which say at once what a store will never take.

By themselves they answer 500 to a file below a file, and MLflow's client tries such an upload again for four minutes.
The server finds these by entry points that plugin.py installs.
"""

# mypy: allow-untyped-calls

import contextlib
import errno
from collections.abc import AsyncIterable, Iterator
from typing import Any, BinaryIO

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_CONFLICT
from mlflow.store.artifact import artifact_repository_registry
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

CONFLICTS = {
    # versitygw
    "ObjectParentIsFile",
    "ExistingObjectIsDirectory",
    # MinIO
    "XMinioParentIsObject",
    "XMinioObjectExistsAsDirectory",
}
"""How stores over a file system say that a name is both a file and a folder."""

NAMES = {"KeyTooLongError", "InvalidObjectName", "XMinioInvalidObjectName"}
"""How stores say that an object cannot have its name."""

_BOTH = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


@contextlib.contextmanager
def refusals(name: str) -> Iterator[None]:
    """Turn what trying again does not mend into an answer that clients do not try again.

    Args:
        name: path of the file below the store's root.

    Raises:
        MlflowException: 409 where a file and a folder would have one name, 400 where the store knows no such name.
    """
    try:
        yield
    except MlflowException:
        raise
    except Exception as error:
        code, said = _reason(error)
        if code in CONFLICTS or code in _BOTH:
            raise MlflowException(
                f"'{name}' cannot be uploaded: the artifact store keeps files in folders, and a part of this path is a "
                "file there already, or the whole of it a folder. Choose another name for the one or the other",
                error_code=RESOURCE_CONFLICT,
            ) from error
        if code in NAMES or code == errno.ENAMETOOLONG:
            raise MlflowException(
                f"'{name}' cannot be uploaded: the artifact store takes no such name: {said}",
                error_code=INVALID_PARAMETER_VALUE,
            ) from error
        raise


def _reason(error: BaseException) -> tuple[str | int | None, str]:
    """The store's code and words; boto3 wraps the error that has them."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno is not None:
            return found.errno, found.strerror or ""
        response = getattr(found, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return response["Error"].get("Code"), response["Error"].get("Message", "")
        found = found.__cause__ or found.__context__
    return None, ""


def _path(local_file: str, artifact_path: str | None) -> str:
    name = local_file.rpartition("/")[2]
    return f"{artifact_path}/{name}" if artifact_path else name


class S3(S3ArtifactRepository):
    """A bucket."""

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """See MLflow's."""
        with refusals(_path(local_file, artifact_path)):
            super().log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """See MLflow's."""
        with refusals(artifact_path or local_dir):
            super().log_artifacts(local_dir, artifact_path)

    def create_multipart_upload(
        self, local_file: str, num_parts: int = 1, artifact_path: str | None = None
    ) -> Any:
        """See MLflow's."""
        with refusals(_path(local_file, artifact_path)):
            return super().create_multipart_upload(local_file, num_parts, artifact_path)

    def complete_multipart_upload(
        self, local_file: str, upload_id: str, parts: Any = None, artifact_path: str | None = None
    ) -> Any:
        """See MLflow's."""
        with refusals(_path(local_file, artifact_path)):
            return super().complete_multipart_upload(local_file, upload_id, parts, artifact_path)


class Folder(LocalArtifactRepository):
    """A folder."""

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """See MLflow's."""
        with refusals(_path(local_file, artifact_path)):
            super().log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """See MLflow's."""
        with refusals(artifact_path or local_dir):
            super().log_artifacts(local_dir, artifact_path)

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """See MLflow's."""
        with refusals(_path(artifact_file_name, artifact_path)):
            super().log_artifact_from_stream(stream, artifact_file_name, artifact_path)

    async def log_artifact_from_async_stream(
        self,
        chunks: AsyncIterable[bytes],
        artifact_file_name: str,
        artifact_path: str | None = None,
    ) -> None:
        """See MLflow's."""
        with refusals(_path(artifact_file_name, artifact_path)):
            await super().log_artifact_from_async_stream(chunks, artifact_file_name, artifact_path)


# An entry point has a name, and the scheme of a plain path none. MLflow loads this while it makes its registry.
artifact_repository_registry._artifact_repository_registry.register("", Folder)
