"""Which folder holds the class: its entries are the students. Where it is not clear, ask."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from helpers.grading.names import SET_NAME, read_name
from helpers.grading.places import is_notebook

OF_A_SYSTEM = ("submission attachment", "feedback attachment")  # Sakai's, in a student's folder


def overviews(paths: Sequence[PurePosixPath], name: str) -> set[PurePosixPath]:
    """The tables that ILIAS writes beside the folder of an assignment's submissions, and names
    after the assignment: `Set 1/Set 1.xlsx`. Nothing in them is missing in the folders' names."""
    return {
        path
        for path in paths
        if path.suffix.lower() in (".xlsx", ".xls") and path.stem == (path.parent.name or name)
        if any(is_notebook(p) and path.parent in list(p.parents)[1:] for p in paths)
    }


def class_folder(
    paths: Sequence[PurePosixPath],
    name: str,
    below: str | None = None,
    tables: Collection[PurePosixPath] = (),
) -> PurePosixPath:
    """The folder that holds the students' files or folders, `.` if they lie at the top.

    `paths` are those of all files, `name` is the name of the zip or folder that they lie in;
    `tables` are the `overviews` beside them. `below` is what a person says. Raises ValueError
    where it is not clear.
    """
    if below is not None:
        top = PurePosixPath(below)
        if not any(path.is_relative_to(top) for path in paths):
            raise ValueError(f"--below {below!r}: there is no such folder")
        return top
    top = PurePosixPath()
    around = {table.parent for table in tables}  # no student: a system wrote into it
    while (only := _only_folder(paths, top)) and (
        only in around or _holds_a_class(paths, only, name)
    ):
        top = only
    _ask_where_people_share_a_folder(paths, top)
    return top


def _only_folder(paths: Sequence[PurePosixPath], top: PurePosixPath) -> PurePosixPath | None:
    """The folder below `top` in which everything lies; None if there is no such."""
    rest = [path.relative_to(top) for path in paths]
    firsts = {path.parts[0] for path in rest}
    return top / firsts.pop() if len(firsts) == 1 and all(len(p.parts) > 1 for p in rest) else None


def _holds_a_class(paths: Sequence[PurePosixPath], folder: PurePosixPath, name: str) -> bool:
    """Whether a folder that holds everything is the class, and not its only student."""
    people = _people(paths, folder)
    if len(people) > 1 or (people and folder.name == name):
        return True
    if not people:
        return False
    raise ValueError(
        f"is {str(folder)!r} a student, or a folder around the class of {people.pop()!r}? Say "
        f"which folder holds the students: --below . or --below {str(folder)!r}"
    )


def _people(paths: Sequence[PurePosixPath], folder: PurePosixPath) -> set[str]:
    """The names below a folder that may be students': not those of sets alone."""
    people = set()
    for path in (p.relative_to(folder) for p in paths if p.is_relative_to(folder)):
        if is_notebook(path):
            is_folder = len(path.parts) > 1
            first = path.parts[0] if is_folder else path.stem
            student = read_name(first, is_folder).student
            if not SET_NAME.fullmatch(student) and not student.lower().startswith(OF_A_SYSTEM):
                people.add(student)
    return people


def _ask_where_people_share_a_folder(paths: Sequence[PurePosixPath], top: PurePosixPath) -> None:
    """Raises ValueError where folders of several people seem to lie in one student's."""
    inside: dict[PurePosixPath, set[str]] = {}
    for path in paths:
        first, *rest = path.relative_to(top).parts
        if len(rest) > 1 and is_notebook(path):
            inside.setdefault(top / first, set()).add(rest[0])
    for folder, names in inside.items():
        elsewhere = {n for other, theirs in inside.items() if other != folder for n in theirs}
        own = sorted(
            name
            for name in names - elsewhere  # what is in every student's folder is no student
            if not SET_NAME.search(name) and not name.lower().startswith(OF_A_SYSTEM)
        )
        if len(own) > 1:
            raise ValueError(
                f"is {str(folder)!r} one student, or are {own[0]!r} and {own[1]!r} in it two? Say "
                f"which folder holds the students: --below . or --below {str(folder)!r}"
            )
