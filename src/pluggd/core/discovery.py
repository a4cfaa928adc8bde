# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where plugins come from, and what each says about itself.

Three origins go one way in: bundled folders, an operator's `plugin_dirs`, and
installed distributions. Each module is imported and asked by itself, so that what one
of them raises is its own failure and nobody else's. Nothing is started here, and the
order of what is returned means nothing.

pluggy validates the hook; it is not asked to load entry points or to call the hook of
all plugins at once, because either stops at the first exception.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

import pluggy

from pluggd.core.failure import Failure, failure_of
from pluggd.core.validation import require_registration, validate
from pluggd.errors import InvalidArgument
from pluggd.plugin import ENTRY_POINT_GROUP, PROJECT, PluggdSpec, Registration
from pluggd.services.kind import Kind
from pluggd.struct import Struct

BUNDLED_PACKAGE = "plugins"


class Source(Struct, frozen=True):
    """A module that may hold plugins: its name, where it is, who brought it."""

    name: str
    path: str
    origin: str
    load: Callable[[], object]
    """Import the module; may raise anything."""
    stamp: Callable[[], object] = lambda: None
    """What changes when the files of the module do."""
    forget: Callable[[], None] = lambda: None
    """Make the next `load` import the module anew."""


class Found(Struct, frozen=True):
    """One plugin, or one module that could not say which plugins it holds."""

    name: str
    path: str
    origin: str
    registration: Registration[Any, Any] | None = None
    failure: Failure | None = None

    @property
    def uri(self) -> str:
        """Of the plugin; the bare module name when there is no registration."""
        return self.registration.uri if self.registration else self.name


Memory = dict[str, tuple[object, list[Found]]]
"""What `discover` found at each path, and the stamp that its files had then."""


def bundled_dir() -> Path:
    """`pluggd/_bundled` in a wheel, `<repository>/plugins` in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_bundled"
    return installed if installed.is_dir() else package.parent.parent / "plugins"


def discover(
    plugin_dirs: Sequence[Path] = (),
    *,
    bundled: bool = True,
    installed: bool = True,
    memory: Memory | None = None,
) -> list[Found]:
    """Everything that is there, broken or not, sorted by URI.

    memory: kept by the caller from one discovery to the next. Modules whose files did
    not change are not asked again; those of `plugin_dirs` that did are imported anew.
    Raises InvalidArgument when a directory of `plugin_dirs` cannot be read: then the
    configuration is wrong, not a plugin.
    """
    sources: list[Source] = []
    if bundled:
        sources += bundled_sources(bundled_dir())
    for directory in plugin_dirs:
        sources += directory_sources(directory)
    if installed:
        sources += installed_sources()
    memory = {} if memory is None else memory
    asker = Asker()
    found = [one for source in sources for one in _remembered(source, memory, asker)]
    return sorted(found, key=lambda one: (one.uri, one.path))


def _remembered(source: Source, memory: Memory, asker: Asker) -> list[Found]:
    stamp = source.stamp()
    before = memory.get(source.path)
    if before is not None:
        if before[0] == stamp and all(one.failure is None for one in before[1]):
            return before[1]
        source.forget()
    found = examine(source, asker)
    memory[source.path] = stamp, found
    return found


# --- where modules are


def bundled_sources(directory: Path) -> list[Source]:
    """The folders of the package `plugins`, loaded by location, whatever `sys.path` says."""

    def load(name: str) -> object:
        _extend_bundled_package(directory)
        return importlib.import_module(f"{BUNDLED_PACKAGE}.{name}")

    return [
        Source(path.stem, str(path), "bundled", partial(load, path.stem))
        for path in _candidates(directory)
    ]


def directory_sources(directory: Path) -> list[Source]:
    """Folders and single files of one of the operator's directories.

    The modules are named after the directory, so that two directories never meet in
    `sys.modules`; a plugin there imports its own modules relatively.
    """
    directory = directory.resolve()
    digest = hashlib.sha256(bytes(directory)).hexdigest()[:12]
    package = f"pluggd_plugins_{digest}"

    def load(path: Path) -> object:
        if package not in sys.modules:
            module = types.ModuleType(package, f"Plugins of {directory}")
            module.__path__ = [str(directory)]
            sys.modules[package] = module
        importlib.invalidate_caches()
        return _load_file(f"{package}.{path.stem}", path)

    try:
        candidates = _candidates(directory)
    except OSError as error:
        raise InvalidArgument(
            f"plugin_dirs: cannot read {directory}: {error.strerror}: invalid argument"
        ) from error
    return [
        Source(
            path.stem,
            str(path),
            str(directory),
            partial(load, path),
            partial(_stamp, path),
            partial(_forget, f"{package}.{path.stem}", path),
        )
        for path in candidates
    ]


def installed_sources(search_path: Sequence[str] | None = None) -> list[Source]:
    """Entry points of the group `pluggd.plugins` of all installed distributions.

    The files are searched for the name of the group before `importlib.metadata` is
    let loose on a hit: parsing those of all distributions took 80 ms where 130 were
    installed, which is half of the daemon's start.
    """
    header = f"[{ENTRY_POINT_GROUP}]".encode()
    hits: dict[str, Path] = {}
    for entry in sys.path if search_path is None else search_path:
        for about in _distributions(entry or "."):
            # As importlib does it: the first of a name on the path counts.
            name = os.path.basename(about)
            if name not in hits and header in _bytes(f"{about}/entry_points.txt"):
                hits[name] = Path(about)
    if not hits:
        return []
    from importlib import metadata

    sources: list[Source] = []
    for directory in hits.values():
        distribution = metadata.Distribution.at(directory)
        origin = f"{distribution.name} {distribution.version}"
        sources += [
            Source(point.name, point.value, origin, point.load)
            for point in distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        ]
    return sources


def _distributions(directory: str) -> list[str]:
    """The directories in it that hold what is known of an installed distribution."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [
        f"{directory}/{name}"
        for name in sorted(names)
        if name.endswith((".dist-info", ".egg-info"))
    ]


def _bytes(file: str) -> bytes:
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _candidates(directory: Path) -> list[Path]:
    return sorted(
        path
        for path in directory.iterdir()
        if not path.name.startswith(("_", "."))
        and (path.suffix == ".py" or (path / "__init__.py").is_file())
    )


def _extend_bundled_package(directory: Path) -> None:
    """Let `plugins.<name>` be found in the directory, also when another package of that
    common name was imported before."""
    package = sys.modules.get(BUNDLED_PACKAGE)
    if package is None:
        package = types.ModuleType(BUNDLED_PACKAGE, "The bundled plugins of pluggd.")
        package.__path__ = []
        sys.modules[BUNDLED_PACKAGE] = package
    places = cast("list[str]", package.__path__)
    if str(directory) not in list(places):
        places.append(str(directory))


def _load_file(name: str, path: Path) -> object:
    if name in sys.modules:
        return sys.modules[name]
    location = path / "__init__.py" if path.is_dir() else path
    spec = importlib.util.spec_from_file_location(
        name,
        location,
        submodule_search_locations=[str(path)] if path.is_dir() else None,
    )
    if spec is None or spec.loader is None:
        raise InvalidArgument(f"{location} is no Python source: invalid argument")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _unload(name)
        raise
    return module


def _unload(name: str) -> None:
    """Forget a module and those inside it; who holds their objects keeps them."""
    for loaded in [key for key in sys.modules if f"{key}.".startswith(f"{name}.")]:
        del sys.modules[loaded]


def _forget(name: str, path: Path) -> None:
    _unload(name)
    # Bytecode counts as current when second and size agree, which an edit may keep.
    for file in _files(path):
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _stamp(path: Path) -> object:
    """Name, time and size of each source file: enough to see an edit."""
    try:
        stats = [(file, file.stat()) for file in _files(path)]
    except OSError:
        return None  # it changes just now
    return [(str(file), stat.st_mtime_ns, stat.st_size) for file, stat in stats]


# --- what modules say


def examine(source: Source, asker: Asker | None = None) -> list[Found]:
    """Import one module and ask it; whatever it raises is in the result.

    asker: for who examines many.
    """
    try:
        registrations = _ask(source.load(), source.name, asker or Asker())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the isolation itself
        return [
            Found(source.name, source.path, source.origin, failure=failure_of(error))
        ]
    return [
        Found(source.name, source.path, source.origin, registration, problem)
        for registration, problem in registrations
    ]


class _Manager(pluggy.PluginManager):
    """Looks at functions only, which is all that may carry the mark: most names of a
    module are something else."""

    _HOOKABLE = (types.FunctionType, types.MethodType, staticmethod, classmethod)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        if type(vars(plugin).get(name)) not in self._HOOKABLE:
            return None
        return super().parse_hookimpl_opts(plugin, name)


class Asker:
    """Asks one module after the other, each by itself. For one discovery in one thread."""

    def __init__(self) -> None:
        self._manager = self._new()

    def answers(self, module: object, name: str) -> list[object]:
        """What the hook of a module returns. Raises what is wrong with the hook, and
        whatever it raises."""
        manager = self._manager
        try:
            self._register(module, name)
            if not manager.hook.pluggd_register.get_hookimpls():
                raise InvalidArgument(
                    f"plugin module {name} has no function pluggd_register marked with"
                    " @hookimpl: invalid argument"
                )
            answers: list[object] = manager.hook.pluggd_register()
        except BaseException:
            # What it left must not meet the next one.
            self._manager = self._new()
            raise
        manager.unregister(module, name)
        return answers

    def _register(self, module: object, name: str) -> None:
        manager = self._manager
        try:
            manager.register(module, name)
            manager.check_pending()
        except pluggy.PluginValidationError:
            marked = [
                f"{one}{inspect.signature(value)}"
                for one, value in vars(module).items()
                if manager.parse_hookimpl_opts(module, one) is not None
            ]
            raise InvalidArgument(
                f"plugin module {name} marks {', '.join(marked)} with @hookimpl: that is"
                " for pluggd_register() alone, which takes no arguments: invalid argument"
            ) from None

    @staticmethod
    def _new() -> _Manager:
        # To read the specification takes longer than to ask a module.
        manager = _Manager(PROJECT)
        manager.add_hookspecs(PluggdSpec)
        return manager


def _ask(
    module: object, name: str, asker: Asker
) -> list[tuple[Registration[Any, Any], Failure | None]]:
    answers = asker.answers(module, name)
    registrations: list[Any] = []
    for answer in answers:
        registrations += (
            cast("list[object]", answer) if isinstance(answer, list) else [answer]
        )
    if not registrations:
        raise InvalidArgument(
            f"pluggd_register of {name} returned no Registration: invalid argument"
        )
    checked: list[tuple[Registration[Any, Any], Failure | None]] = []
    for one in registrations:
        require_registration(one, name)
        registration: Registration[Any, Any] = one
        try:
            validate(registration)
        except Exception as error:  # noqa: BLE001 - whatever an author may write
            text = failure_of(error).reason
            # Only what names the plugin is kept: the rest may be of any type.
            kind = Kind(registration.provides.name, object)
            named: Registration[Any, Any] = Registration(
                kind, registration.id, _no_start
            )
            checked.append((named, Failure(text, "invalid_argument")))
        else:
            checked.append((registration, None))
    return checked


def _no_start(context: object) -> NoReturn:
    raise AssertionError(f"a registration that is wrong is not started ({context})")
