"""What a command is about: the workflow in a file, its parameters, its environment.

A file is imported as Python itself would: under its own name, with its
directory in front of the path. So a run that is taken up later finds the
functions under the names that its record has.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyflow.cli.checkout import Checkout, checked_out
from pyflow.cli.codes import Refusal
from pyflow.define.environment import Environment
from pyflow.define.plan import Plan
from pyflow.define.workflow import Workflow
from pyflow.errors import PyflowError, nearest
from pyflow.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import ModuleType

    from pyflow.define.task import Param
    from pyflow.source import Source

__all__ = ["Target", "load", "loaded"]

FORM = "name it as deploy.py:release, or package.module:release"


@dataclass(frozen=True, slots=True)
class Target:
    """A workflow that was found."""

    place: str
    """How it was named on the command line."""

    module: ModuleType
    """Where it is."""

    make: Callable[[], Workflow | Plan]
    """Returns it; a function of the module makes a new one at each call."""

    plan: Plan
    """It, checked."""

    source: Source | None = None
    """The commit that it was loaded from, where one was named."""

    def params(self, given: Sequence[str]) -> dict[str, Any]:
        """Return the parameters that ``NAME=VALUE`` words give.

        Raises:
            Refusal: One is not of that form, is given twice, or is not of its type.
        """
        values: dict[str, Any] = {}
        for word in given:
            name, sign, text = word.partition("=")
            if not sign or not name:
                raise Refusal(f"--param {word!r} has no value", "write --param NAME=VALUE")
            if name in values:
                raise Refusal(f"--param {name} is given twice", "give it once")
            values[name] = _value(name, text, self.plan.params.get(name))
        return values

    def environment(self, name: str | None) -> Environment | None:
        """Return the environment called *name*: the file's own, or one of that name alone.

        Raises:
            Refusal: The file defines environments, and none of that name.
        """
        if name is None:
            return None
        known = {one.name: one for one in _environments(self.module)}
        if name in known or not known:
            return known.get(name) or Environment(name)
        near = nearest(name, known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise Refusal(
            f"{self.place.partition(':')[0]} defines no environment {name!r}{hint}",
            f"choose one of {', '.join(known)}",
        )


@contextmanager
def loaded(place: str, ref: str | None) -> Generator[Target]:
    """Have the workflow that *place* names: as it is, or as it was at the commit *ref*.

    The files of a commit are there, beside one another, until the block ends.

    Raises:
        Refusal: As for `load`; or there is no such commit.
        DefinitionError: It is wrong.
    """
    if ref is None:
        yield load(place)
        return
    with checked_out(_directory(_parts(place)[0]), ref) as checkout:
        yield load(place, checkout)


def load(place: str, checkout: Checkout | None = None) -> Target:
    """Return the workflow that *place* names, here or in a *checkout*.

    Raises:
        Refusal: There is none there, or the file cannot be imported.
        DefinitionError: It is wrong.
    """
    where, name = _parts(place)
    module = _module(where, checkout)
    found = _named(module, name, where) if name else _only(module, where)
    make = found if callable(found) else lambda: found
    source = None
    if checkout is not None and module.__file__ is not None:
        source = checkout.source(Path(module.__file__).resolve())
    return Target(place, module, lambda: _made(make, place), _plan(_made(make, place)), source)


def _parts(place: str) -> tuple[str, str]:
    """Return the file or module, and the name in it."""
    where, _, name = place.rpartition(":") if ":" in place else (place, "", "")
    return where, name


def _directory(where: str) -> Path:
    """Return the directory from which *where* is imported.

    Raises:
        Refusal: It is not there.
    """
    directory = Path(where).resolve().parent if where.endswith(".py") else Path.cwd()
    if not directory.is_dir():
        raise Refusal(f"there is no directory {str(directory)!r}", FORM)
    return directory


def _plan(workflow: Workflow | Plan) -> Plan:
    return workflow if isinstance(workflow, Plan) else workflow.check()


def _module(where: str, checkout: Checkout | None) -> ModuleType:
    path = Path(where)
    if where.endswith(".py"):
        path = path if checkout is None else checkout.directory / path.name
        if not path.is_file():
            then = "" if checkout is None else f" at {checkout.ref}"
            raise Refusal(f"there is no file {where!r}{then}", FORM)
        directory, name = str(path.resolve().parent), path.stem
    else:
        directory, name = str(Path.cwd() if checkout is None else checkout.directory), where
        if not name or not all(part.isidentifier() for part in name.split(".")):
            raise Refusal(f"{where!r} names neither a file nor a module", FORM)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module = _imported(where, name)
    if where.endswith(".py") and not _is_from(module, path):
        raise Refusal(
            f"{where} cannot be imported as {name!r}, because another module is called that: "
            f"{getattr(module, '__file__', None) or 'one of Python itself'}",
            "rename the file",
        )
    if checkout is not None and not _is_inside(module, checkout.top):
        raise Refusal(
            f"{where} at {checkout.ref} is imported from elsewhere: "
            f"{getattr(module, '__file__', None) or 'Python itself'}",
            "name the file, as deploy.py:release",
        )
    return module


def _is_inside(module: ModuleType, top: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(top)


def _is_from(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == path.resolve()


def _imported(where: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except PyflowError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            raise Refusal(f"there is no module {name!r} here", FORM) from error
        raise _broken(where, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(where, error) from error


def _broken(where: str, error: BaseException) -> Refusal:
    """Return the refusal for a file whose import raised *error*."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if "importlib" not in frame.filename]
    place = f"{Path(outside[-1].filename).name}:{outside[-1].lineno}" if outside else where
    if isinstance(error, SyntaxError):
        place = f"{Path(error.filename or where).name}:{error.lineno}"
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Refusal(f"{where} cannot be imported: {told} ({place})", "mend the file")


def _named(module: ModuleType, name: str, where: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Workflow | Plan) or (callable(found) and not isinstance(found, type)):
        return found
    names = list(_workflows(module))
    near = nearest(name, names)
    what = "has no" if found is None else "has something else called"
    hint = f"; did you mean {near!r}?" if near else ""
    there = f"it has {', '.join(names)}" if names else "define one: name = pyflow.Workflow(...)"
    raise Refusal(f"{where} {what} {name!r}{hint}", there)


def _only(module: ModuleType, where: str) -> Any:
    names = _workflows(module)
    if len(names) == 1:
        return next(iter(names.values()))
    if not names:
        raise Refusal(f"{where} has no workflow", f"{FORM}; a function that returns one will do")
    raise Refusal(f"{where} has {len(names)} workflows: {', '.join(names)}", f"add :{min(names)}")


def _workflows(module: ModuleType) -> dict[str, Workflow | Plan]:
    return {k: v for k, v in vars(module).items() if isinstance(v, Workflow | Plan)}


def _made(make: Callable[[], Any], place: str) -> Workflow | Plan:
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise Refusal(
            f"{place} is a function that needs arguments ({error})",
            "name one without, which calls it",
        ) from error
    made = make()
    if not isinstance(made, Workflow | Plan):
        raise Refusal(f"{place} returns {type(made).__name__}, not a Workflow", FORM)
    return made


def _environments(module: ModuleType) -> list[Environment]:
    """Return the environments that *module* has, by themselves or in a list, tuple or dict."""
    found: list[Any] = []
    for value in list(vars(module).values()):
        if isinstance(value, dict):
            found += value.values()
        else:
            found += value if isinstance(value, list | tuple) else [value]
    return [one for one in found if isinstance(one, Environment)]


# Parameters -------------------------------------------------------------------------------


def _value(name: str, text: str, param: Param | None) -> Any:
    """Return what *text* says, as the type that *param* declares."""
    wanted: Any = param.annotation if param is not None else Any
    if wanted is Secret:
        return _secret(name, text)
    if wanted is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        if wanted in (int, float, bool, list, dict):
            raise Refusal(
                f"--param {name}={text} is no {wanted.__name__}", f"write it as JSON: {HOW[wanted]}"
            ) from None
        return text


HOW = {int: "3", float: "0.5", bool: "true", list: '["eu", "us"]', dict: '{"eu": 2}'}


def _secret(name: str, text: str) -> Secret:
    kind, _, rest = text.partition(":")
    if kind == "env" and rest:
        return Secret.from_env(rest)
    if kind == "file" and rest:
        return Secret.from_file(rest)
    raise Refusal(
        f"--param {name} is a secret, and a command line is seen by everybody on the host",
        f"write --param {name}=env:VARIABLE or --param {name}=file:PATH",
    )
