"""The names by which clients call methods say the same of their answers as the table that dispatches."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, get_args, get_type_hints

from hubd import wire
from hubd.control.methods import METHODS
from hubd.wire import methods


def names() -> dict[str, Any]:
    """What the annotations of `methods` name: the module's own, and those with results."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(wire.__path__):
        if module.name.endswith("results"):
            found[module.name] = importlib.import_module(f"hubd.wire.{module.name}")
            found |= vars(found[module.name])
    return {**found, **vars(methods)}


def test_each_method_has_a_name_for_clients_that_knows_what_it_answers() -> None:
    declared = get_type_hints(methods, globalns=names())
    answers = {getattr(methods, name).name: get_args(hint)[0] for name, hint in declared.items()}
    assert answers == {name: method.result for name, method in METHODS.items()}
    assert all(name == getattr(methods, name).name.replace(".", "_").upper() for name in declared)
