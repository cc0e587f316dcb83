"""Rules over several settings, checked before any resource is registered."""

from collections.abc import Callable, Iterable

from models import Settings
from problems import Problem

from . import access, artifacts, aws, database, kubernetes, offers, secrets, tracking
from .offers import BUILD_VERSIONS, OFFERED, VERSIONS

__all__ = ["BUILD_VERSIONS", "OFFERED", "VERSIONS", "check"]

_CHECKS: tuple[Callable[[Settings], Iterable[Problem]], ...] = (
    *offers.CHECKS,
    *access.CHECKS,
    *tracking.CHECKS,
    *database.CHECKS,
    *artifacts.CHECKS,
    *secrets.CHECKS,
    *aws.CHECKS,
    *kubernetes.CHECKS,
)


def check(settings: Settings) -> list[Problem]:
    """All problems that several settings have together."""
    return [problem for rule in _CHECKS for problem in rule(settings)]
