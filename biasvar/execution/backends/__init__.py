"""Where stores can be: a backend is one file, and its line here."""

from biasvar.execution.backends.base import BACKENDS, Location, Place, reading, writing
from biasvar.execution.backends.file import FileLocation
from biasvar.execution.backends.memory import MemoryLocation
from biasvar.execution.backends.s3 import S3Location

__all__ = [
    "BACKENDS",
    "FileLocation",
    "Location",
    "MemoryLocation",
    "Place",
    "S3Location",
    "reading",
    "writing",
]

#: By the scheme of their URLs.
BACKENDS |= {"file": FileLocation, "s3": S3Location, "memory": MemoryLocation}
