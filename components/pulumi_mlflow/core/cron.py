"""Schedules of cron, five fields."""

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
"""Minute, hour, day, month, day of the week."""


def check(schedule: str) -> str | None:
    """Why a schedule is none, or None. Names of months and days are not taken."""
    fields = schedule.split()
    if len(fields) != len(_RANGES):
        return f"must be five fields of cron, such as '0 3 * * *' (got {schedule!r})"
    for field, (least, most) in zip(fields, _RANGES, strict=True):
        if not all(_is_part(part, least, most) for part in field.split(",")):
            return f"{field!r} is not of {least} to {most} (got {schedule!r})"
    return None


def _is_part(part: str, least: int, most: int) -> bool:
    span, _, step = part.partition("/")
    if ("/" in part) and not (step.isdecimal() and int(step) > 0):
        return False
    if span == "*":
        return True
    ends = span.split("-")
    if len(ends) > 2 or not all(end.isdecimal() for end in ends):  # noqa: PLR2004 - from and to
        return False
    numbers = [int(end) for end in ends]
    return least <= numbers[0] <= numbers[-1] <= most
