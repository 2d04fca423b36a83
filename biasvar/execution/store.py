"""A study's Zarr store: the labelled summary at the root, the groups' records beneath ``blocks/``."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from biasvar.errors import StoreError, StudyChangedError
from biasvar.execution.attributes import SCHEMA, SOFTWARE, as_text, editions_of, from_text, root_attributes
from biasvar.execution.backends import Location, Place, reading
from biasvar.execution.coordinates import coordinate_files, read_coordinates
from biasvar.execution.records import ARRAYS, UNREADABLE, Records
from biasvar.execution.summaries import encoded, opened, summary_digest
from biasvar.execution.zarr_files import group_content, node_metadata
from biasvar.fields import Json
from biasvar.studies.base import Group, Summary, edition_of, nodes_of, summary_of
from biasvar.studies.numerics import NUMERICS
from biasvar.studies.study import Study

AT_A_TIME = 16  # files of metadata and summary: an object store takes its time for each


class Store:
    """Open a study's store, or make one.

    Parameters
    ----------
    place : path-like, str or Location
        A directory on a local file system, ``s3://bucket/key`` or ``memory://name``.
    """

    def __init__(self, place: Place) -> None:
        self.location = Location.of(place)

    def __repr__(self) -> str:
        return f"Store({str(self.location)!r})"

    # The study it holds

    def exists(self) -> bool:
        """Tell whether there is a store here; refuse what is something else.

        Raises
        ------
        StoreError
            If the path is taken by anything but a store of ours.
        """
        if not self.location.exists():
            return False
        self.attributes()
        return True

    def attributes(self) -> dict[str, Any]:
        """Return what the store says of its study.

        The root's metadata says it; ``blocks/`` keeps a copy, in case that is lost.

        Raises
        ------
        StoreError
            If the path holds no store of ours, or one of another schema.
        """
        if not self.location.exists():
            raise StoreError(
                f"store {self.location}: does not exist; make it with: biasvar run STUDY --store {self.location}"
            )
        found = self._attributes_of("") or self._attributes_of("blocks")
        if found is None:
            raise StoreError(f"store {self.location}: is not a biasvar store; choose another path")
        if found["schema"] != SCHEMA:
            raise StoreError(
                f"store {self.location}: has schema {found['schema']}, this version of biasvar reads {SCHEMA}; "
                "use the version named in its attributes"
            )
        return found

    def claim(self, study: Study[Any]) -> None:
        """Make the store a store of ``study``: create it, or extend it.

        Whatever metadata above the groups was lost is written anew.
        """
        attributes = root_attributes(study, complete=False)
        self._write_group("", attributes)
        self._write_group("blocks", attributes)
        for problem in {group.problem for group in study.groups()}:
            self._write_group(f"blocks/{problem}", {})

    def check(self, study: Study[Any]) -> None:
        """Refuse a study that the store cannot be extended to.

        Raises
        ------
        StudyChangedError
            If it holds a study that this one does not extend, with the differences.
        StoreError
            If the path holds something else, or blocks of other arithmetic or another layout than this version makes.
        """
        if not self.exists():
            return
        attributes = self.attributes()
        errors = study.extension_errors(json.loads(attributes["study"]))
        if not errors and (changed := study.changed_values(attributes["evidence"])):
            errors.append(changed)
        if errors:
            raise StudyChangedError(
                f"store {self.location}: holds a different study ({'; '.join(errors)}); choose another store, or state "
                "the study as it was"
            )
        if (made_by := int(attributes.get("numerics", 1))) != NUMERICS:
            raise self._cannot_be_added_to(
                attributes, f"its blocks were made by arithmetic {made_by}, this version's is {NUMERICS}"
            )
        if study.superseded(json.loads(attributes["study"])):
            return  # nothing is added to what it holds: all is made anew beside that
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for difference in pool.map(lambda group: self._layout_difference(study, group), self.groups()):
                if difference:
                    raise self._cannot_be_added_to(attributes, difference)

    def superseded(self, study: Study[Any]) -> str:
        """Say why a study that extends the store makes its records anew; empty text if it does not."""
        return study.superseded(json.loads(self.attributes()["study"]))

    def _cannot_be_added_to(self, attributes: Json, why: str) -> StoreError:
        return StoreError(
            f"store {self.location}: {why}, and the two must not mix; run into a new store, or install the version "
            f"that made it, biasvar {attributes['versions']['biasvar']}"
        )

    def check_place(self) -> None:
        """Refuse a place for a new store that lies in another, or leads nowhere.

        Raises
        ------
        StoreError
            Saying what is there.
        """
        if self.location.exists():
            return
        for above in self.location.parents():
            try:
                found = Store(above)._attributes_of("")
            except StoreError:  # what cannot be read there is not of this store
                continue
            if found is not None:
                raise StoreError(f"store {self.location}: lies inside the store {above}; choose a place beside it")

    def intruders(self) -> list[str]:
        """Return where other stores lie in this one."""
        nodes = ["", "blocks", *sorted({f"blocks/{group.problem}" for group in self.groups()})]
        places = [f"{node}/{child}".lstrip("/") for node in nodes for child in self.location.children(node)]
        return [place for place in places if place != "blocks" and self._attributes_of(place) is not None]

    # Its groups

    def groups(self, of: Study[Any] | None = None) -> dict[Group, Records]:
        """Open all groups, in the order of their paths; those whose metadata is gone or torn are left out.

        So are those of another edition than the study has: ``of``, by default the one that the store holds.

        Raises
        ------
        StoreError
            If the disk does not answer.
        """
        editions = self._editions() if of is None else editions_of(of)
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            found = pool.map(lambda path: self._open_records(path, editions), self._group_paths())
            return {records.group: records for records in found if records is not None}

    def _group_paths(self) -> list[str]:
        names = self.location.children
        return [f"blocks/{problem}/{name}" for problem in names("blocks") for name in names(f"blocks/{problem}")]

    def _open_records(self, path: str, editions: Mapping[str, str]) -> Records | None:
        group = self._group(path)
        try:
            return Records(self.location, group) if group and self._is_of(group, editions) else None
        except UNREADABLE:
            return None

    def _group(self, path: str) -> Group | None:
        try:
            return Group.from_json((self._metadata(path) or {})["attributes"])
        except UNREADABLE:
            return None

    def _editions(self) -> Mapping[str, str]:
        """Return the editions of the study's groups by problem; nothing of stores of before, which have but one."""
        attributes = self._attributes_of("") or self._attributes_of("blocks") or {}
        found: Mapping[str, str] = attributes.get("editions", {})
        return found

    def _is_of(self, group: Group, editions: Mapping[str, str]) -> bool:
        """Tell whether a stored group is of these editions."""
        if not (wanted := editions.get(group.problem)):
            return True
        if group.edition:
            return group.edition == wanted
        # Groups of before do not say it, but for their coordinates.
        statistic = read_coordinates(self.location, group)
        return statistic is not None and edition_of(statistic) == wanted

    def earlier(self) -> dict[Group, dict[str, NDArray[Any]]]:
        """Return the groups of earlier editions that can be read, and what the numbers of their records are."""
        found = {group: read_coordinates(self.location, group) for group in self._of_others(self._editions()).values()}
        return {group: statistic for group, statistic in found.items() if statistic is not None}

    def _of_others(self, editions: Mapping[str, str]) -> dict[str, Group]:
        """Return the groups of other editions than these, by path."""
        found = {path: self._group(path) for path in self._group_paths()}
        return {path: group for path, group in found.items() if group and not self._is_of(group, editions)}

    def _remove_superseded(self, paths: Iterable[str]) -> None:
        """Remove groups, their metadata last, so that one that is killed is gone on with."""
        for path in paths:
            for child in self.location.children(path):
                if child != "zarr.json":
                    self.location.delete_tree(f"{path}/{child}")
            self.location.delete_tree(path)

    def create(self, group: Group, blocks: int, chunk: int, statistic: Mapping[str, object]) -> Records:
        """Create a group's arrays."""
        return Records.create(self.location, group, blocks, chunk, statistic)

    def repair_coordinates(self, group: Group, statistic: Mapping[str, object]) -> None:
        """Write a stored group's coordinates anew if they cannot be read."""
        if read_coordinates(self.location, group) is None:
            self.location.write_all(coordinate_files(group, statistic))

    def metadata_problems(self) -> list[str]:
        """Say which metadata above and beside the groups' records is missing or damaged."""
        nodes = ["", "blocks", *sorted({f"blocks/{group.problem}" for group in self.groups()})]
        problems = [f"metadata of {node or 'the root'} is damaged" for node in nodes if self._metadata(node) is None]
        return problems + [
            f"coordinates of blocks/{group.path} are damaged"
            for group in self.groups()
            if read_coordinates(self.location, group) is None
        ]

    def remove_partial_files(self) -> None:
        """Remove what a killed writer left half written; only for the holder of the lock."""
        self.location.remove_partial_files()

    # The summary

    def write_summary(self, study: Study[Any], summary: Summary) -> Summary:
        """Replace the labelled summary at the root; return it with the root's attributes.

        The root's metadata, which says that it is complete, is written last.
        """
        nodes = nodes_of(summary)
        order = {path: [str(name) for name in node.variables] for path, node in nodes.items()}
        about = {"summary_digest": summary_digest(summary), "nodes": order}
        files = encoded(nodes)
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            # All of it: axes may have grown, and what a killed run or a fault left may not be readable.
            kept = {"blocks", "zarr.json", *self.intruders()}
            old = [child for child in self.location.children() if child not in kept]
            list(pool.map(self.location.delete_tree, old))
        self.location.write_all(files)
        # A summary says itself how it is printed.
        said = {str(name): value for name, value in nodes[""].attrs.items()}
        attributes = as_text(said | root_attributes(study, complete=True) | about)
        # With the metadata of all nodes in the root's, a plain xr.open_zarr opens it at once, and without a warning.
        superseded = self._of_others(editions_of(study))
        known = node_metadata(files) | self._blocks_metadata(set(superseded))
        self.location.write("zarr.json", group_content(attributes, known))
        self._remove_superseded(superseded)
        return summary_of(nodes | {"": nodes[""].assign_attrs(as_text(self.attributes()))})

    def summary(self) -> Summary:
        """Open the labelled summary lazily.

        Raises
        ------
        StoreError
            If the store has none yet, or it cannot be read.
        """
        attributes = self.attributes()
        if not attributes["complete"]:
            raise StoreError(
                f"store {self.location}: its run has not finished; finish it with the command that began it, or see: "
                f"biasvar status {self.location}"
            )
        try:
            with reading(self.location):
                # Stores of before list the nodes' paths alone.
                listed = attributes["nodes"]
                order = listed if isinstance(listed, dict) else dict.fromkeys(listed, ())
                nodes = {path: opened(self.location, path, names) for path, names in order.items()}
                return summary_of(nodes | {"": nodes[""].assign_attrs(as_text(attributes))})
        except StoreError:
            raise
        except Exception as error:  # whatever is made of metadata that is not its own
            raise StoreError(
                f"store {self.location}: its summary cannot be read ({type(error).__name__}); run the study again"
            ) from error

    # Metadata files

    def _metadata(self, node: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self.location.read(_metadata_key(node)) or b"null")
        except ValueError:
            return None
        return found if isinstance(found, dict) and found.get("node_type") == "group" else None

    def _blocks_metadata(self, but: set[str]) -> dict[str, Any]:
        """Return the metadata of all nodes beneath ``blocks/`` that can be read, by path, but of some groups."""
        paths = [path for path in self._group_paths() if path not in but]
        nodes = ["blocks", *sorted({path.rpartition("/")[0] for path in paths}), *paths]
        nodes += [f"{path}/{array}" for path in paths for array in ARRAYS]
        keys = [f"{node}/zarr.json" for node in nodes]
        contents = zip(keys, self.location.read_all(keys), strict=True)
        return node_metadata({key: content for key, content in contents if content is not None})

    def _attributes_of(self, node: str) -> dict[str, Any] | None:
        attributes: dict[str, Any] = (self._metadata(node) or {}).get("attributes", {})
        if attributes.get("software") != SOFTWARE or "study" not in attributes:
            return None
        try:
            return from_text(attributes)
        except ValueError:
            return None

    def _write_group(self, node: str, attributes: Json) -> None:
        """Write a group's metadata: one file, at once, and without consolidated metadata, which may be out of date."""
        self.location.write(_metadata_key(node), group_content(as_text(attributes)))

    def _layout_difference(self, study: Study[Any], group: Group) -> str:
        """Say how a stored group's records differ in layout from those of the code; empty text if they do not."""
        ours = study.record_coordinates(group)
        size = len(ours["moment"])
        if group.record_size != size:
            return f"a record of blocks/{group.path} has {group.record_size} numbers, this version's has {size}"
        # Damaged coordinates are written anew later; the size of the record is known all the same.
        stored = read_coordinates(self.location, group) or ours
        for i in range(size):
            theirs, mine = (f"{at['moment'][i]}[{at['place'][i]}]" for at in (stored, ours))
            if theirs != mine:
                return f"number {i} of a record of blocks/{group.path} is {theirs}, this version's is {mine}"
        return ""


def _metadata_key(node: str) -> str:
    return f"{node}/zarr.json".lstrip("/")
