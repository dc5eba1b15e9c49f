"""What people are told about their session while they work: pure, from figures that others measure."""

import math
from dataclasses import dataclass

from guix_session.surroundings import Project, Session

WARN_SECONDS = 600.0
"""How long before the end of a session people are warned, at most: of a short time, a fifth."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to show.  It goes away when it is no longer among a session's notices."""

    kind: str
    """``memory``, ``idle``, ``age`` or ``project``: what it is about, and how the browser knows it again."""
    message: str
    """What is shown at once: JupyterLab shows 140 letters of it."""
    details: str
    """What it means, and what to do, in one paragraph a line; shown when asked for."""
    keep_working: bool = False
    """Whether a word of the person's that they are still there ends it."""

    def told(self) -> dict[str, object]:
        """Return it as the browser gets it."""
        return {"kind": self.kind, "message": self.message, "details": self.details, "keepWorking": self.keep_working}


def notices(session: Session, *, now: float, last_activity: float) -> list[Notice]:
    """Return what is to be said of the end of SESSION at the time NOW; both times are in seconds since 1970.

    LAST_ACTIVITY is what the server tells the hub, which ends sessions by it.
    """
    found = []
    if session.idle_seconds is not None:
        left = last_activity + session.idle_seconds - now
        if left <= _early(session.idle_seconds):
            found.append(
                Notice(
                    "idle",
                    f"Nothing has happened in this session for a while. It will be stopped in {minutes(left)}.",
                    f"Sessions are stopped after {duration(session.idle_seconds)} without work. Your files stay, and you "
                    "can start again at once; what is only in the memory of notebooks is lost.",
                    keep_working=True,
                )
            )
    if session.ends is not None and session.maximal_age is not None:
        left = session.ends - now
        if left <= _early(session.maximal_age):
            found.append(
                Notice(
                    "age",
                    f"This session will be stopped in {minutes(left)}. Save your work.",
                    f"Sessions here run for at most {duration(session.maximal_age)}, whatever happens in them. Your files "
                    "stay, and you can start again at once; what is only in the memory of notebooks is lost.",
                )
            )
    return found


def out_of_memory(session: Session, times: int) -> Notice:
    """Return what is said after the kernel ended programs of SESSION for want of memory, TIMES in all."""
    limit = session.limits.get("memory")
    bound = f"its limit of {size(limit)} of memory" if isinstance(limit, int) else "all the memory it may have"
    again = "" if times == 1 else f" This has happened {times} times in this session."
    return Notice(
        "memory",
        "The session ran out of memory, and a program was ended: most likely a notebook's kernel.",
        f"This session used up {bound}. What was in the variables of the program that was ended is lost; files are safe, "
        f"and the kernel can be started again. Use less at once, or start a session with more memory.{again}",
    )


def new_copy(project: Project) -> Notice | None:
    """Return what is said where the person may look for work of theirs that is not in PROJECT's working copy; else None."""
    if not (project.taken or project.others):
        return None
    said, home = [], f"~/{project.folder}"
    if project.taken:
        said.append(
            f"{_folders(project.taken)}, where it would be, is no working copy of the repository: it is something else, or "
            "its hidden folder .git was deleted. Nothing in it was changed."
        )
    if project.others:
        said.append(f"{_folders(project.others)} is an earlier working copy, as you left it.")
    if not project.folder:
        said.append("To have a working copy, give what is there another name, and start the session again.")
        return Notice("project", "This session has no working copy: in your home, its names are taken.", "\n".join(said))
    if project.others:
        said.append(f"To go on with it, give {home} another name, give it this one, and start the session again.")
    else:
        said.append(
            f"Copy into {home} what you want to go on with. Or have Git know the old folder again, in a terminal: "
            f"“mv {home}/.git ~/{project.taken[0]}/”; the next session is in there."
        )
    message = "This session works in a new copy of the project. What you made before is in another folder."
    return Notice("project", message, "\n".join(said))


def _folders(names: tuple[str, ...]) -> str:
    return " and ".join(f"~/{name}" for name in names)


def _early(whole: float) -> float:
    return min(WARN_SECONDS, whole / 5)


def minutes(seconds: float) -> str:
    """Return SECONDS in words, as a person counts down."""
    count = max(1, math.ceil(seconds / 60))
    return "a minute" if count == 1 else f"{count} minutes"


def duration(seconds: float) -> str:
    """Return SECONDS in words, in the largest unit that says it well."""
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * length or seconds == length:
            count = round(seconds / length, 1)
            return f"{count:g} {unit}" + ("" if count == 1 else "s")
    return minutes(seconds)


def size(count: int) -> str:
    """Return COUNT bytes in words."""
    for factor, unit in ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
