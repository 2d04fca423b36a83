"""Stores in the memory of this process: ``memory://name``."""

from typing import TYPE_CHECKING, Any

from biasvar.errors import StoreError
from biasvar.execution.backends.base import Location

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

_memory: dict[str, dict[str, Any]] = {}


class MemoryLocation(Location):
    """A name in this process, which is held by the default lock."""

    scheme = "memory"
    example = "memory://NAME"
    shared = False

    @classmethod
    def parse(cls, rest: str) -> str:
        """Return the name."""
        if not rest.strip("/"):
            raise StoreError("store memory://: expected a name, as in memory://sine")
        return rest.strip("/")

    def open_zarr(self) -> "ZarrStore":
        """Open the name's dict, the same one each time."""
        from zarr.storage import MemoryStore

        return MemoryStore(_memory.setdefault(self.place, {}))
