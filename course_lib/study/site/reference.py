"""The library's reference: which page documents which public name, and the pages themselves."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

PACKAGE = "course_lib"
LONGEST_VALUE = 100  # characters of a constant that are shown


@dataclass(frozen=True, slots=True)
class Entry:
    """One documented object: the module whose page section it stands in, and its name there."""

    module: str
    name: str
    target: Any

    @property
    def full_name(self) -> str:
        """What one imports, and what links name."""
        return f"{self.module}.{self.name}"

    @property
    def directive(self) -> str:
        """Sphinx's directive for this kind of object."""
        if inspect.isclass(self.target):
            return "autoexception" if issubclass(self.target, BaseException) else "autoclass"
        return "autofunction" if inspect.isroutine(self.target) else "py:data"


def entries(package: str) -> list[Entry]:
    """Return what one part of the library offers, each object once, under the shortest name it can be imported by.

    Args:
        package: Such as ``"losses"``. Of ``study`` only what notebooks import is public.
    """
    top = importlib.import_module(f"{PACKAGE}.{package}")
    modules = [top] if package == "study" else [top, *_modules_below(top)]
    found: list[Entry] = []
    seen: set[int] = set()
    for module in sorted(modules, key=_depth):
        for name in _public_names(module):
            target = getattr(module, name)
            if inspect.ismodule(target) or id(target) in seen:
                continue
            if callable(target):  # small numbers and texts are shared objects: equal ones are not the same entry
                seen.add(id(target))
            found.append(Entry(module.__name__, name, target))
    return found


def parts() -> list[str]:
    """Return the parts of the library, in order of their names."""
    package = importlib.import_module(PACKAGE)
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__) if not found.name.startswith("_"))


def page(package: str, documented: list[Entry]) -> str:
    """Return the reference of one part of the library as reStructuredText."""
    name = f"{PACKAGE}.{package}"
    lines = [f"``{name}``", "=" * (len(name) + 4), ""]
    modules = dict.fromkeys([name, *sorted(entry.module for entry in documented)])
    for module in modules:
        if module != name:
            lines += [f"``{module}``", "-" * (len(module) + 4), ""]
        # A function may have the name of the module that defines it: only the function goes into the index.
        options = ["   :no-index:"] if module != name else []
        lines += [f".. automodule:: {module}", *options, "", f".. currentmodule:: {module}", ""]
        for entry in (entry for entry in documented if entry.module == module):
            lines += [*_directive(entry), ""]
    return "\n".join(lines)


def _directive(entry: Entry) -> list[str]:
    if entry.directive == "py:data":
        value = repr(entry.target)
        shown = f"   :value: {value}" if len(value) <= LONGEST_VALUE else f"   :type: {type(entry.target).__name__}"
        return [f".. py:data:: {entry.name}", shown]
    options = ["   :members:", "   :show-inheritance:"] if entry.directive == "autoclass" else []
    return [f".. {entry.directive}:: {entry.name}", *options]


def _public_names(module: ModuleType) -> list[str]:
    """Return what a module says is public, else what it defines itself."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


def _modules_below(package: ModuleType) -> Iterator[ModuleType]:
    if not hasattr(package, "__path__"):
        return
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield importlib.import_module(found.name)


def _depth(module: ModuleType) -> tuple[int, str]:
    return module.__name__.count("."), module.__name__
