"""What `pulumi up` runs: settings, then the checks of the world, then the components."""

import gc

import pulumi

from preflight import PreflightError, preflight
from settings import SettingsError, load_stack


def main() -> None:
    """Register nothing before all checks have passed."""
    try:
        settings = load_stack()
        preflight(settings)
    except (SettingsError, PreflightError) as error:
        raise pulumi.RunError(str(error)) from error  # shown without a traceback, exit code 1
    # Of the million objects that an SDK's classes are none is garbage, and looking for some takes a second.
    gc.disable()
    from compose import compose  # noqa: PLC0415 - loads the providers' SDKs, which takes seconds

    compose(settings)


main()
