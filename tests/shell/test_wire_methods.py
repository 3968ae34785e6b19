"""The names by which clients call methods say the same of their answers as the table that dispatches."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import get_args, get_type_hints

from hubd import wire
from hubd.control.methods import METHODS
from hubd.wire import methods, results


def test_each_method_has_a_name_for_clients_that_knows_what_it_answers() -> None:
    others = [each.name for each in iter_modules(wire.__path__) if each.name.endswith("_results")]
    named: dict[str, object] = {}
    for other in others:
        named |= vars(import_module(f"hubd.wire.{other}"))
    declared = get_type_hints(methods, globalns={**vars(methods), **named, "r": results})
    answers = {getattr(methods, name).name: get_args(hint)[0] for name, hint in declared.items()}
    assert answers == {name: method.result for name, method in METHODS.items()}
    assert all(name == getattr(methods, name).name.replace(".", "_").upper() for name in declared)
