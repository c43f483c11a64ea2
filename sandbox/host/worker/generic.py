"""The converter for parameters annotated `str` or `bytes`, which the real worker brings along beside the SDK's."""

from __future__ import annotations

from typing import Any

from azure.functions.meta import Datum


class GenericConverter:
    """Passes text and bytes through as they are."""

    @classmethod
    def check_input_type_annotation(cls, pytype: type) -> bool:
        """Whether a parameter of that type can be read."""
        return issubclass(pytype, (str, bytes))

    @classmethod
    def check_output_type_annotation(cls, pytype: type) -> bool:
        """Whether a parameter of that type can be written."""
        return issubclass(pytype, (str, bytes, bytearray))

    @classmethod
    def decode(cls, data: Datum, *, trigger_metadata: Any) -> Any:
        """The text or bytes, JSON unparsed.

        Raises:
            ValueError: an HTTP request, which is neither.
        """
        if data.type not in ("string", "bytes", "json"):
            raise ValueError(f'unexpected type of data received for the "generic" binding: {data.type!r}')
        return data.value

    @classmethod
    def encode(cls, obj: Any, *, expected_type: type | None) -> Datum:
        """Text or bytes as they are.

        Raises:
            NotImplementedError: anything else.
        """
        if isinstance(obj, str):
            return Datum(obj, "string")
        if isinstance(obj, (bytes, bytearray)):
            return Datum(bytes(obj), "bytes")
        raise NotImplementedError
