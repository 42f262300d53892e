"""Hypothesis strategies for any annotation that the codec knows, made from the annotation itself."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from portfolio.core.decimals import INTEGER_MAX

decimals = st.decimals(min_value=-(10**18), max_value=10**18, allow_nan=False, allow_infinity=False)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: st.integers(-INTEGER_MAX, INTEGER_MAX),
    bool: st.booleans(),
    NoneType: st.none(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    Decimal: decimals,
}


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values that fit an annotation."""
    if annotation in SCALARS:
        return SCALARS[annotation]
    if isinstance(annotation, NewType):
        return values_of(annotation.__supertype__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return st.one_of([values_of(one) for one in arguments])
    if origin is tuple and arguments[1:] == (...,):
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(one) for one in arguments))
    if origin is frozenset:
        return st.frozensets(values_of(arguments[0]), max_size=3)
    if origin in (dict, Mapping):
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)
    if issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    assert isinstance(annotation, type)
    assert is_dataclass(annotation)
    hints = get_type_hints(annotation)
    return st.builds(annotation, **{one.name: values_of(hints[one.name]) for one in fields(annotation)})
