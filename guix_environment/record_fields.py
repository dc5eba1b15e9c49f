"""The fields of a record on disk, fetched as checked values: the file may be damaged, of a newer release, or not there."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, TypeVar

from guix_environment.errors import InvalidInput, NotFound, RecordInvalid
from guix_environment.files import read_json
from guix_environment.identifiers import CheckedString, StorePath, VariableName

_Checked = TypeVar("_Checked", bound=CheckedString)
_Choice = TypeVar("_Choice", bound=StrEnum)
_Made = TypeVar("_Made")


class RecordFields:
    """The fields of one record, each fetched as what it must be; a field that is something else raises `RecordInvalid`."""

    def __init__(self, values: Mapping[str, object], noun: str) -> None:
        self.values = values
        self.noun = noun

    @classmethod
    def read(cls, path: Path, noun: str, *, newest: int) -> Self:
        """Return the fields of the file at PATH, the record of a NOUN, whose form is at most NEWEST.

        Raises `NotFound` where there is no such file, and `RecordInvalid`.
        """
        try:
            values = read_json(path)
        except FileNotFoundError:
            raise NotFound(f"There is no such {noun}.") from None
        except (OSError, ValueError) as error:
            raise RecordInvalid(f"The record of this {noun} is damaged.", hint="Build it again.") from error
        schema = values.get("schema")
        if not isinstance(schema, int) or schema > newest:
            raise RecordInvalid(f"The record of this {noun} was written by a newer release.")
        return cls(values, noun)

    def _invalid(self, field: str) -> RecordInvalid:
        return RecordInvalid(f"The record of this {self.noun} is damaged ({field}).", hint="Build it again.")

    def text(self, field: str) -> str:
        """Return a text, which may be empty."""
        value = self.values.get(field)
        if not isinstance(value, str):
            raise self._invalid(field)
        return value

    def texts(self, field: str, otherwise: Sequence[str] | None = None) -> list[str]:
        """Return a list of texts; OTHERWISE, where that is given, for a field that is not there."""
        if otherwise is not None and field not in self.values:
            return list(otherwise)
        value = self.values.get(field)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._invalid(field)
        return value

    def mapping(self, field: str) -> dict[str, object]:
        """Return values by their names."""
        value = self.values.get(field)
        if not isinstance(value, dict):
            raise self._invalid(field)
        return value

    def integer(self, field: str) -> int | None:
        """Return a whole number; None where the field is empty or not there."""
        value = self.values.get(field)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self._invalid(field)
        return value

    def number(self, field: str) -> float | None:
        """Return a number; None where the field is empty or not there."""
        value = self.values.get(field)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise self._invalid(field)
        return value

    def moment(self, field: str) -> datetime | None:
        """Return a time with its zone; None where the field is empty or not there."""
        value = self.values.get(field)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(self.text(field))
        except ValueError as error:
            raise self._invalid(field) from error
        if moment.tzinfo is None:
            raise self._invalid(field)
        return moment

    def checked(self, field: str, kind: type[_Checked]) -> _Checked:
        """Return a text that is a KIND."""
        try:
            return kind(self.text(field))
        except InvalidInput as error:
            raise self._invalid(field) from error

    def store_paths(self, field: str) -> tuple[StorePath, ...]:
        """Return a list of store items."""
        try:
            return tuple(StorePath(path) for path in self.texts(field))
        except InvalidInput as error:
            raise self._invalid(field) from error

    def one_of(self, field: str, kind: type[_Choice]) -> _Choice:
        """Return the one of KIND that is named."""
        try:
            return kind(self.text(field))
        except ValueError as error:
            raise self._invalid(field) from error

    def variables(self, field: str) -> dict[VariableName, str]:
        """Return environment variables."""
        try:
            return {VariableName(name): str(value) for name, value in self.mapping(field).items()}
        except InvalidInput as error:
            raise self._invalid(field) from error

    def each(self, field: str, made: Callable[[Any], _Made]) -> tuple[_Made, ...]:
        """Return what MADE makes of each value of a list."""
        value = self.values.get(field)
        if not isinstance(value, list):
            raise self._invalid(field)
        try:
            return tuple(made(item) for item in value)
        except (KeyError, TypeError, InvalidInput) as error:
            raise self._invalid(field) from error
