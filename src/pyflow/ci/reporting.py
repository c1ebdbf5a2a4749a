"""Tell the CI system what happens: summaries, annotations, outputs, masks, groups.

One object speaks to whichever system there is. What a system has no place
for goes to the log, or is answered with False; nothing is raised because of
where a script runs. Nothing is ever asked: a job has nobody to answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

from pyflow.ci.context import detect_ci
from pyflow.ci.escaping import azure, github, harmless, section, teamcity
from pyflow.ci.files import add_dotenv, add_output, add_summary
from pyflow.clock import SystemClock
from pyflow.errors import DefinitionError, SecretError, shown
from pyflow.redaction import weakness
from pyflow.secrets import Redactor, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from pyflow.protocols import Clock

__all__ = ["CIReport", "report"]

Level: TypeAlias = Literal["error", "warning", "notice"]

ANNOTATIONS_MAX = 10
"""How many annotations of each level GitHub shows of one step."""
MESSAGE_CHARS_MAX = 4_000
VALUE_BYTES_MAX = 1_048_576
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
DOTENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
LEVELS = ("error", "warning", "notice")
TEAMCITY = (("error", "ERROR"), ("warning", "WARNING"), ("notice", "NORMAL"))


def report(
    environ: Mapping[str, str] | None = None,
    *,
    out: TextIO | None = None,
    dotenv: str | os.PathLike[str] | None = None,
    clock: Clock | None = None,
) -> CIReport:
    """Return what speaks to the CI system that this process runs in.

    Args:
        environ: The environment variables to look at; the process's own by default.
        out: The log; standard output by default.
        dotenv: Where outputs go in GitLab: the file that the job declares as
            ``artifacts: reports: dotenv``.
        clock: What tells the present, which GitLab wants of sections.
    """
    given = os.environ if environ is None else environ
    return CIReport(given, out=out, dotenv=dotenv, clock=clock or SystemClock())


class CIReport:
    """Speaks to one CI system; make it with `report`.

    What it prints is masked: every secret that was handed to `mask`, in every
    encoded form. Text of others is printed so that it is no command.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        out: TextIO | None,
        dotenv: str | os.PathLike[str] | None,
        clock: Clock,
    ) -> None:
        found = detect_ci(environ)
        self.system = "none" if found is None else found.system
        """What it speaks to, as in `CIContext.system`; ``none`` outside of CI."""
        self._out = out
        self._dotenv = dotenv
        self._clock = clock
        self._output = environ.get("GITHUB_OUTPUT")
        self._summary = environ.get("GITHUB_STEP_SUMMARY")
        self._redactor = Redactor()
        self._said = dict.fromkeys(LEVELS, 0)
        self._groups = 0

    def __repr__(self) -> str:
        return f"CIReport({self.system!r})"

    # Masking ------------------------------------------------------------------------------

    def mask(self, *given: Secret | str) -> bool:
        """Keep secrets out of all that is printed here, and of the job's log where that can be done.

        GitHub and Azure mask them in whatever the job prints from now on, each
        line of a value of several lines.

        Returns:
            Whether the system masks them too.

        Raises:
            SecretError: One is too short or too common to be masked, or cannot
                be fetched; those before it are masked.
        """
        for secret in given:
            value = secret.reveal() if isinstance(secret, Secret) else secret
            self._redactor.register(value)
            self._hide(value)
        return self.system in ("github", "azure")

    def _hide(self, value: str) -> None:
        # The command holds the value, and the system takes it out of the log. A line that is
        # common, such as a brace of a JSON key, would be masked wherever it stands.
        lines = [line.strip() for line in value.splitlines()]
        lines = [line for line in lines if weakness(line) is None]
        for part in dict.fromkeys((value, *lines)):
            if self.system == "github":
                self._write(github("add-mask", part))
            elif self.system == "azure" and "\n" not in part:
                self._write(azure("task.setsecret", part))

    # Saying -------------------------------------------------------------------------------

    def log(self, text: str) -> None:
        """Print text of somebody else, such as a tool's output, so that no line of it is a command."""
        text = self._clean(text)
        if self.system == "github" and text:
            token = secrets.token_hex(16)
            self._write(f"::stop-commands::{token}")
            self._write(text)
            self._write(f"::{token}::")
        else:
            self._write(text)

    def error(self, message: str, *, title: str = "", file: str = "", line: int = 0) -> bool:
        """Put an error where people see it; see `annotate`."""
        return self.annotate(message, level="error", title=title, file=file, line=line)

    def warning(self, message: str, *, title: str = "", file: str = "", line: int = 0) -> bool:
        """Put a warning where people see it; see `annotate`."""
        return self.annotate(message, level="warning", title=title, file=file, line=line)

    def notice(self, message: str, *, title: str = "", file: str = "", line: int = 0) -> bool:
        """Put a note where people see it; see `annotate`."""
        return self.annotate(message, level="notice", title=title, file=file, line=line)

    def annotate(
        self, message: str, *, level: Level, title: str = "", file: str = "", line: int = 0
    ) -> bool:
        """Annotate the job, or a line of a file in it.

        GitHub shows ten of each level for a step; from there on, and where a
        system has no annotations, the message goes to the log.

        Returns:
            Whether it is an annotation.

        Raises:
            DefinitionError: *level* or *line* cannot be used.
        """
        if level not in LEVELS or isinstance(line, bool) or line < 0:
            problem = (
                f"level={shown(level)} must be one of {LEVELS}, and line={shown(line)} 0 or more"
            )
            raise DefinitionError("annotate", [problem])
        text = self._clean(message)[:MESSAGE_CHARS_MAX]
        head = self._clean(" ".join(title.split()))[:200]
        place = self._clean(file)[:500]
        number = str(line) if line and file else ""
        made = self._annotation(text, level, head, place, number)
        if made is None:
            where = f"{place}:{number}: " if number else f"{place}: " if place else ""
            self._write(f"{where}{level}: {f'{head}: ' if head else ''}{text}")
            return False
        self._said[level] += 1
        self._write(made)
        return True

    def _annotation(self, text: str, level: Level, title: str, file: str, line: str) -> str | None:
        if self.system == "github" and self._said[level] < ANNOTATIONS_MAX:
            return github(level, text, {"file": file, "line": line, "title": title})
        if self.system == "azure" and level != "notice":
            whole = f"{title}: {text}" if title else text
            given = {"type": level, "sourcepath": file, "linenumber": line}
            return azure("task.logissue", whole, given)
        if self.system == "teamcity":
            whole = f"{title}: {text}" if title else text
            return teamcity("message", {"text": whole, "status": dict(TEAMCITY)[level]})
        return None

    @contextlib.contextmanager
    def group(self, title: str) -> Generator[None]:
        """Fold what is printed inside of the block, under *title*, where the log can be folded."""
        text = self._clean(" ".join(title.split()))[:200] or "…"
        self._groups += 1
        name = f"pyflow_{self._groups}"
        begin, end = self._fold(name, text)
        self._write(begin)
        try:
            yield
        finally:
            if end is not None:
                self._write(end() if callable(end) else end)

    def _fold(self, name: str, title: str) -> tuple[str, str | Callable[[], str] | None]:
        if self.system == "github":
            return github("group", title), "::endgroup::"
        if self.system == "azure":
            return f"##[group]{title}", "##[endgroup]"
        if self.system == "teamcity":
            ends = teamcity("blockClosed", {"name": title})
            return teamcity("blockOpened", {"name": title}), ends
        if self.system == "buildkite":
            return f"--- {title}", None
        if self.system == "gitlab":
            begin = section("start", f"{name}[collapsed=true]", self._now_s(), title)
            return begin, lambda: section("end", name, self._now_s())
        return title, None

    # Handing on ---------------------------------------------------------------------------

    def output(self, name: str, value: str) -> bool:
        """Hand *value* to later steps or jobs.

        GitHub takes it as an output of the step, Azure and TeamCity as a
        variable, GitLab as a line of the dotenv report.

        Returns:
            Whether there was a place for it.

        Raises:
            DefinitionError: The name, or the value, cannot be handed on there.
            SecretError: The value holds a secret that was masked: the system
                would drop it, or show it.
        """
        self._check_output(name, value)
        if self.system == "github" and self._output:
            add_output(self._output, name, value)
        elif self.system == "azure":
            given = {"variable": name, "isOutput": "true"}
            self._write(azure("task.setvariable", value, given))
        elif self.system == "teamcity":
            self._write(teamcity("setParameter", {"name": name, "value": value}))
        elif self.system == "gitlab" and self._dotenv is not None:
            if not DOTENV_NAME.fullmatch(name) or "\n" in value or "\r" in value:
                problem = (
                    f"{shown(name)}: a dotenv report takes letters, digits and _, and one line"
                )
                raise DefinitionError("output", [problem])
            return add_dotenv(self._dotenv, name, value)
        else:
            return False
        return True

    def _check_output(self, name: object, value: object) -> None:
        problems: list[str] = []
        if not isinstance(name, str) or not NAME.fullmatch(name):
            problems.append(f"{shown(name)} is not the name of an output")
        if not isinstance(value, str) or "\0" in value:
            problems.append(f"the value of {shown(name)} must be text without NUL")
        elif len(value.encode("utf-8", "replace")) > VALUE_BYTES_MAX:
            problems.append(f"the value of {shown(name)} has more than {VALUE_BYTES_MAX:,} bytes")
        if problems:
            raise DefinitionError("output", problems)
        if self._redactor and self._redactor.find(value) is not None:
            raise SecretError(
                f"output {shown(name)} holds a secret; hand on where to fetch it instead"
            )

    def summary(self, markdown: str) -> bool:
        """Add *markdown* to the summary of the step, or print it where there is none.

        Returns:
            Whether all of it is in a summary: GitHub takes 1 MiB a step.
        """
        text = self._redactor.redact(markdown) if self._redactor else markdown
        if self.system == "github" and self._summary:
            return add_summary(self._summary, text)
        with self.group("Summary"):
            self.log(text.rstrip("\n"))
        return False

    # Small parts --------------------------------------------------------------------------

    def _clean(self, text: str) -> str:
        return harmless(self._redactor.redact(text) if self._redactor else text)

    def _write(self, line: str) -> None:
        stream = sys.stdout if self._out is None else self._out
        stream.write(line + "\n")
        stream.flush()

    def _now_s(self) -> int:
        return int(self._clock.now().timestamp())
