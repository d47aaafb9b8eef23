"""nbgrader's side of a batch: what was submitted, what was released, and the one who writes it all down.

Everything that `nbgrader autograde` records is recorded, by nbgrader's own tables and rules: students,
submissions, timestamps, scores, comments, late penalties, source files, permissions. One submission is one
transaction; its folder in `autograded/` appears by a rename after that, and an older one goes before it.
Killed in between, the submission has no folder and is graded again by the next run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy
import sqlalchemy.exc
from nbconvert.preprocessors import ExecutePreprocessor
from nbformat.notebooknode import from_dict
from nbformat.v4.rwbase import split_lines, strip_transient
from nbgrader import utils
from nbgrader.api import (
    Assignment,
    Comment,
    Grade,
    Gradebook,
    GradeCell,
    MissingEntry,
    Notebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    Execute,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
)
from sqlalchemy.orm import contains_eager, joinedload, selectinload
from traitlets import TraitError
from traitlets.utils.importstring import import_item

from graders.batch import submission
from graders.batch.display import LANGUAGE, make_harmless
from graders.batch.intake import Submission, lay, take_in, timestamp_in
from graders.batch.private import Unconfigured, load_whole
from graders.batch.recognition import Release, ReleasedCell, asked_for, plain
from graders.batch.submission import Unreadable, shown
from graders.classroom import observations, records

#: Where a submission's folder is made before it is moved into place.
_BUILDING = ".graders-"
#: What stands for any student in a path: no folder has it in its name.
_ANYBODY = "\0"

#: What a file name or a folder of a single submission can make the disk refuse.
_ITS_OWN_FAULT = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)


class CannotRecord(Exception):
    """The gradebook or the disk refuses; the text says what to do. Nothing of the submission is recorded."""


class NotRecorded(Exception):
    """This one submission cannot be recorded; the text says why. Nothing of it is recorded."""


class CannotStart(Exception):
    """The course is not in order; the text says what to do."""


class Course:
    """A course folder with its configuration and gradebook, for one assignment.

    Raises CannotStart where the assignment was not released or the gradebook cannot be used.
    """

    def __init__(self, root: Path, assignment: str, *, force: bool = False) -> None:
        self.assignment, self.force = assignment, force
        app = NbGrader()
        app.log_level = logging.ERROR
        try:
            with contextlib.chdir(root):
                load_whole(app, app.load_config_file)
            app.config.CourseDirectory.setdefault("root", str(root))
            self.directory = CourseDirectory(parent=app, assignment_id=assignment)
            self.converter = Autograde(coursedir=self.directory, parent=app)
            self._steps, self.not_served = self._other_steps()
        except (Unconfigured, TraitError, ImportError, AttributeError) as problem:
            raise CannotStart(_about_configuration(problem)) from None
        self.root = Path(self.directory.root)
        self._lock = self._alone()
        try:
            self._gradebook_is_there()
            self.gradebook = Gradebook(self.directory.db_url, self.directory.course_id)
            self.session = self.gradebook.db()
            # nbgrader commits wherever it writes; here a submission is one transaction.
            self.gradebook.db.commit = lambda: None  # type: ignore[method-assign]
            self.release = self._released()
            self._known, self._graded_at = self._in_the_gradebook()
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            os.close(self._lock)
            raise CannotStart(_about(error)) from None
        except CannotStart:
            os.close(self._lock)
            raise
        self._sources = source_files(self.converter)
        self._beside = {name: path for path, name in self._sources}
        #: What was released of each notebook, as an index says it (see `graders.classroom.observations`).
        self.digests = {name: observations.released(one, self._sources) for name, one in self.release.items()}
        self._released_text = frozenset().union(*(one.text for one in self.release.values()))

    def close(self) -> None:
        with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
            self.session.rollback()
        self.gradebook.close()
        os.close(self._lock)

    def _alone(self) -> int:
        """A lock on the course folder, which is gone with this process in any case. Raises CannotStart."""
        try:
            handle = os.open(self.root, os.O_RDONLY)
        except OSError as error:
            raise CannotStart(
                f"The folder of the course, {self.root}, cannot be read ({error.strerror}); "
                "c.CourseDirectory.root in nbgrader_config.py names it."
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise CannotStart(
                "Another `graders autograde` is at work in this course; wait until it has ended."
            ) from None
        except OSError:  # some network file systems have no locks
            pass
        return handle

    def _gradebook_is_there(self) -> None:
        """Raises CannotStart where nbgrader would make a new gradebook, as it does in any folder."""
        url = sqlalchemy.engine.make_url(self.directory.db_url)
        there = url.get_backend_name() != "sqlite" or not url.database or Path(url.database).exists()
        if there:
            engine = sqlalchemy.create_engine(url)
            there = bool(sqlalchemy.inspect(engine).get_table_names())
            engine.dispose()
        if not there:
            raise CannotStart(
                f"There is no gradebook at {url.render_as_string()}: run this in the folder of the course, "
                f"after `{self._release}`."
            )

    @property
    def _release(self) -> str:
        """The command that puts the assignment into the gradebook: nbgrader skips a folder that is there."""
        folder = self.directory.format_path(self.directory.release_directory, ".", self.assignment)
        force = " --force" if Path(self.directory.root, folder).is_dir() else ""
        return f"nbgrader generate_assignment {self.assignment}{force}"

    def _released(self) -> dict[str, Release]:
        released = released_in(self.gradebook, self.directory, self.assignment)
        if not released:
            raise CannotStart(
                f"The gradebook knows no assignment {self.assignment!r}: run `{self._release}` first, "
                "or check its name."
            )
        self.session.rollback()
        self.session.expunge_all()
        return released

    def _path(self, step: str, student: str) -> Path:
        path = self.directory.format_path(step, student, self.assignment)
        return Path(path) if os.path.isabs(path) else self.root / path

    def _in_the_gradebook(self) -> tuple[set[str], dict[str, datetime | None]]:
        """The students whom the gradebook knows, and when those handed in of whom it holds a grading.

        A submission without any points, those of tests included, is one whose grading was killed. Where
        nothing is graded but by hand, that cannot be told from one that waits for a person.
        """
        known = {student for (student,) in self.session.query(Student.id)}
        rows = (
            self.session.query(SubmittedAssignment)
            .join(SubmittedAssignment.assignment)
            .outerjoin(SubmittedAssignment.notebooks)
            .outerjoin(SubmittedNotebook.grades)
            .filter(Assignment.name == self.assignment)
            .with_entities(
                *(SubmittedAssignment.student_id, SubmittedAssignment.timestamp),
                *(Grade.auto_score, Grade.manual_score, Grade.needs_manual_grade),
            )
        )
        cells = [cell for one in self.release.values() for cell in one.cells.values()]
        has_tests = any(cell.grade and not cell.solution for cell in cells)
        graded_at = {
            student: when
            for student, when, auto, manual, asked in rows
            if not has_tests or not asked or auto is not None or manual is not None
        }
        self.session.rollback()
        return known, graded_at

    def _folders(self, step: str) -> Iterator[tuple[str, Path]]:
        """Every student's folder of the assignment; signs of patterns in the course's own path are names."""
        before, after = str(self._path(step, _ANYBODY)).split(_ANYBODY, 1)
        for folder in sorted(glob.glob(f"{glob.escape(before)}*{glob.escape(after)}")):
            yield folder[len(before) : len(folder) - len(after)], Path(folder)

    def _closed(self, step: str) -> Iterator[tuple[str, Path]]:
        """Students whose own folder this account may not open, so that nobody sees what is in it."""
        before, after = str(self._path(step, _ANYBODY)).split(_ANYBODY, 1)
        if after:
            for folder in sorted(glob.glob(f"{glob.escape(before)}*")):
                if os.path.isdir(folder) and not os.access(folder, os.X_OK):
                    yield folder[len(before) :], Path(folder + after)

    def _other_steps(self) -> tuple[tuple[list[Any], list[Any]], list[str]]:
        """Preprocessors that the configuration adds to nbgrader's own, before and after the execution.

        With them comes what it asks for and does not get, in sentences. Raises Unconfigured.
        """
        ours_before = (ClearOutput, DeduplicateIds, OverwriteKernelspec, OverwriteCells, CheckCellMetadata)
        ours_after = (SaveAutoGrades, AssignLatePenalties, CheckCellMetadata)
        before = _imported(self.converter.sanitize_preprocessors)
        after = _imported(self.converter.autograde_preprocessors)
        self._takes_off_for_lateness = AssignLatePenalties in after
        #: Seconds that the configuration gives a cell in a grading; None or -1: any; 0: it does not say.
        self.cell_timeout = Execute(parent=self.converter).timeout if Execute in after else 0
        not_served = [
            f"{name} of nbgrader_config.py is not called: only `nbgrader autograde` does."
            for name in ("pre_convert_hook", "post_convert_hook")
            if getattr(self.converter, name)
        ]
        for kind in (one for one in after if isinstance(one, type) and one not in ours_after):
            if issubclass(kind, SaveAutoGrades | AssignLatePenalties):
                raise Unconfigured(
                    f"{kind.__name__} in nbgrader_config.py writes into the gradebook in its own way, which "
                    "only `nbgrader autograde` lets it do; nothing was done."
                )
            if issubclass(kind, ExecutePreprocessor) and kind is not Execute:
                not_served.append(
                    f"{kind.__name__} of nbgrader_config.py is not used: code runs in the sandbox instead."
                )
        first, second = (
            [self._made(one) for one in listed if one not in ours and not _is_ours(one)]
            for listed, ours in ((before, ours_before), (after, ours_after))
        )
        return (first, second), not_served

    def _made(self, step: Any) -> Any:
        """A preprocessor as an exporter makes it of what a configuration lists: a class or a function."""
        return step(parent=self.converter) if isinstance(step, type) else step

    # What is there to grade

    def students(self, wanted: list[str]) -> Iterator[tuple[str, str]]:
        """Students with a submission, and for each "grade" or "skip" by nbgrader's rule, or another word.

        What was graded is graded again where it was handed in anew, or with `force`; other than by nbgrader's
        rule, also where only what is handed in now says when. "rest": a notebook beside
        others could not be graded, which is tried again. "lost": there is a folder of it, but the gradebook
        holds nothing, since a grading was killed or the student removed and added; it is graded. "unknown":
        nor does the gradebook know the student, who may have been removed for good; it is left alone.
        """
        excluded = set(filter(None, self.directory.student_id_exclude.split(",")))
        step = self.directory.submitted_directory
        for student, folder in (*self._folders(step), *self._closed(step)):
            if student in excluded or (wanted and student not in wanted) or not _may_be_a_folder(folder):
                continue
            if self._is_due(student):
                yield student, "grade"
            elif student not in self._graded_at:
                yield student, "lost" if student in self._known else "unknown"
            else:
                yield student, "rest" if self._lacks_a_notebook(student) else "skip"

    def misplaced(self, wanted: list[str]) -> dict[str, str]:
        """Students whose work lies where nobody looks for it, and for each a sentence that says where."""
        excluded = set(filter(None, self.directory.student_id_exclude.split(",")))
        others = {one.name for one in self.gradebook.assignments}
        found = dict(misplaced(self.directory, self.release, others))
        return {
            student: why
            for student, why in found.items()
            if student not in excluded and (not wanted or student in wanted)
        }

    def _lacks_a_notebook(self, student: str) -> bool:
        """Whether a notebook was handed in beside others that is not among those that were graded."""
        if len(self.release) < 2:
            return False
        handed_in = self._path(self.directory.submitted_directory, student)
        graded = self._path(self.directory.autograded_directory, student)
        names = [f"{name}.ipynb" for name in self.release]
        return any(os.path.lexists(handed_in / name) and not (graded / name).exists() for name in names)

    def _is_due(self, student: str) -> bool:
        target = self._path(self.directory.autograded_directory, student)
        if self.force or not target.exists():
            return True
        with contextlib.suppress(Exception):  # an unreadable timestamp is no timestamp
            new = self._timestamp(student)
            old = timestamp_in(target) or self._graded_at.get(student)
            return new is not None and (old is None or new > old)
        return False

    def _timestamp(self, student: str) -> datetime | None:
        return timestamp_in(self._path(self.directory.submitted_directory, student))

    def read(self, student: str) -> Submission:
        """A student's submission, with everything put back that was released."""
        folder = self._path(self.directory.submitted_directory, student)
        if not os.access(folder, os.R_OK | os.X_OK):
            raise PermissionError("this account may not open its folder.")
        found = take_in(student, folder, self.release, self.directory.ignore, self._beside)
        if not found.unreadable or found.notebooks:
            own = {name: path.read_bytes() for path, name in self._sources}
            found.files = submission.apart(found.files | own, own)
        if self._steps[0]:
            for name, notebook in found.notebooks.items():
                found.notebooks[name] = self._through(
                    self._steps[0], from_dict(notebook), student, name, folder
                )
        return found

    def _through(self, steps: list[Any], node: Any, student: str, name: str, folder: Path) -> Any:
        """A notebook as these steps leave it; folder: where it and what came with it lie now.

        Raises NotRecorded where a step of the configuration fails.
        """
        resources = self._resources(student, name, folder)
        for step in steps:
            try:
                node, resources = step(node, resources)
            except Exception as error:
                called = getattr(step, "__name__", type(step).__name__)
                raise NotRecorded(_about_own(f"The preprocessor {called}", error)) from None
        return node

    def _resources(self, student: str, name: str, folder: Path) -> dict[str, Any]:
        return {
            "unique_key": name,
            "output_files_dir": f"{name}_files",
            "metadata": {"name": name, "path": str(folder)},
            "nbgrader": {
                "student": student,
                "assignment": self.assignment,
                "notebook": name,
                "db_url": self.directory.db_url,
            },
        }

    # Writing it down

    def record(self, found: Submission, answers: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
        """Write one submission down, as one transaction; returns its points and what could be had.

        answers: by notebook, what the worker said of it. Raises CannotRecord where no submission can be
        recorded now, and NotRecorded where this one cannot.
        """
        target = self._path(self.directory.autograded_directory, found.student)
        building = target.parent / f"{_BUILDING}{secrets.token_hex(4)}"
        old = building.with_name(f"{building.name}-old")
        committed = False
        try:
            building.mkdir(parents=True)
            points, most = self._entered(found, answers, building)
            self._give_permissions(building)
            if target.exists():
                target.rename(old)
            self.session.commit()
            committed = True
            building.rename(target)
        except Exception as error:
            if isinstance(error, PermissionError) and self._is_for_one_alone(target.parent):
                raise NotRecorded(_about(error)) from None
            raise _refusal(error) from None
        finally:
            if not committed:
                with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                    self.session.rollback()
                if old.exists():
                    old.rename(target)
            self.session.expunge_all()
            _remove(building)
            _remove(old)
        return points, most

    def _is_for_one_alone(self, folder: Path) -> bool:
        """Whether a folder around a graded submission is there, and holds nothing of other students."""
        anybody = self._path(self.directory.autograded_directory, _ANYBODY)
        return folder.is_dir() and _ANYBODY in str(anybody.parent)

    def _entered(
        self, found: Submission, answers: Mapping[str, Mapping[str, Any]], building: Path
    ) -> tuple[float, float]:
        """Enter everything into the open transaction and build the folder; returns points and maximum."""
        book, student = self.gradebook, found.student
        if self.converter.create_student:
            book.update_or_create_student(student)
        else:
            try:
                book.find_student(student)
            except MissingEntry:
                raise NotRecorded(
                    f"The gradebook knows no student {student!r}, and create_student is off."
                ) from None
        self.session.flush()
        details = {}
        with contextlib.suppress(ValueError, OverflowError):
            if timestamp := self._timestamp(student):
                details["timestamp"] = timestamp
        with self.session.no_autoflush:  # it is built piece by piece
            handed_in = book.update_or_create_submission(self.assignment, student, **details)
        self.session.flush()
        make_entries(handed_in, self.session)
        lay(building, submission.apart(found.kept))
        points = most = 0.0
        for notebook in handed_in.notebooks:
            if notebook.name in answers:
                self._enter_notebook(found, notebook, answers[notebook.name], building)
            elif notebook.name in found.missing:
                for grade in notebook.grades:
                    grade.auto_score, grade.needs_manual_grade = 0, False
            else:
                for grade in notebook.grades:
                    grade.needs_manual_grade = True
            points += sum(grade.auto_score or 0.0 for grade in notebook.grades)
            most += sum(cell.points or 0.0 for cell in self.release[notebook.name].cells.values())
        self._enter_penalties(handed_in, answers)
        return points, most

    def _enter_notebook(
        self, found: Submission, entry: SubmittedNotebook, answer: Mapping[str, Any], building: Path
    ) -> None:
        node = self._through(
            self._steps[1], completed(answer["notebook"]), found.student, entry.name, building
        )
        suspects = found.doubtful.get(entry.name, set()).union(answer.get("suspects", ()))
        self._enter_grades(entry, node.cells, suspects)
        comments = {comment.cell.name: comment for comment in entry.comments}
        for cell in node.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if utils.is_solution(cell) or utils.is_task(cell):
                same = cell.metadata.nbgrader.get("checksum") == utils.compute_checksum(cell)
                comments[name].auto_comment = "No response." if same and not utils.is_task(cell) else None
        make_harmless(node, self._released_text)
        index = observations.indexed(self.digests[entry.name], answer["checks"], suspects)
        last = records.last_of(self._path(self.directory.autograded_directory, found.student), entry.name)
        when, again = records.when_in(building), answer["behaviours"]
        path, record = records.following(last, entry.name, node, when, again)
        lay(
            building,
            {
                f"{entry.name}.ipynb": _text_of(_as_in_a_file(node)),
                path: record,
                observations.index_path(entry.name): index.content,
            },
        )

    def _enter_grades(
        self, entry: SubmittedNotebook, cells: Iterable[Any], suspects: Collection[str]
    ) -> None:
        grades = {grade.cell.name: grade for grade in entry.grades}
        for cell in filter(utils.is_grade, cells):
            name = cell.metadata.nbgrader.grade_id
            grade = grades[name]
            grade.auto_score, _ = utils.determine_grade(cell)
            grade.needs_manual_grade = (
                grade.manual_score is not None or grade.auto_score is None or name in suspects
            )

    def _enter_penalties(self, handed_in: Any, answers: Mapping[str, Any]) -> None:
        late = handed_in.total_seconds_late
        for notebook in handed_in.notebooks:
            if notebook.name not in answers or not self._takes_off_for_lateness:
                continue
            notebook.late_submission_penalty = None
            if late > 0:
                self.session.flush()
                self.session.refresh(notebook)
                step = AssignLatePenalties(parent=self.converter)
                student, score = handed_in.student.id, notebook.score
                try:
                    step.init_plugin()
                    penalty = step.plugin_inst.late_submission_penalty(student, score, late)
                    if penalty is not None:
                        penalty = step._check_late_penalty(notebook, penalty)
                except Exception as error:
                    raise NotRecorded(_about_own("The plugin for late penalties", error)) from None
                notebook.late_submission_penalty = penalty

    # Writing down what was judged again

    def graded(self, wanted: Collection[str]) -> Iterator[tuple[str, Path]]:
        """Students with a graded submission, and its folder. wanted: only these; all if there are none."""
        excluded = set(self.directory.student_id_exclude.split(","))
        for student, folder in self._folders(self.directory.autograded_directory):
            if student not in excluded and (not wanted or student in wanted):
                yield student, folder

    def scores(self) -> dict[tuple[str, str, str], tuple[float | None, float | None]]:
        """By student, notebook and cell, the points that were given automatically, and those by hand."""
        rows = (
            self.session.query(Grade)
            .join(Grade.notebook)
            .join(SubmittedNotebook.assignment)
            .join(SubmittedAssignment.assignment)
            .join(SubmittedAssignment.student)
            .join(GradeCell, Grade.cell_id == GradeCell.id)
            .join(Notebook, SubmittedNotebook.notebook_id == Notebook.id)
            .filter(Assignment.name == self.assignment)
            .with_entities(Student.id, Notebook.name, GradeCell.name, Grade.auto_score, Grade.manual_score)
        )
        found = {(student, notebook, cell): scores for student, notebook, cell, *scores in rows}
        self.session.rollback()
        return {place: (auto, manual) for place, (auto, manual) in found.items()}

    def scores_in(self, notebook: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
        """The cells of an executed notebook that carry points, with those that they get automatically."""
        for cell in filter(utils.is_grade, from_dict(notebook).cells):
            yield cell.metadata.nbgrader.grade_id, utils.determine_grade(cell)[0]

    def rewrite(
        self,
        student: str,
        outputs: Mapping[str, Mapping[str, list[dict[str, Any]]]],
        indices: Mapping[str, observations.Index],
    ) -> None:
        """Write down what cells of a graded submission come to now, as one transaction.

        outputs: by notebook and cell; indices: by notebook. Points, comments and penalties follow by
        nbgrader's rules; what a person has written stays. Killed after the transaction and before the files
        are in place, the next run sees by the index that they are not. Raises CannotRecord and NotRecorded.
        """
        folder = self._path(self.directory.autograded_directory, student)
        ready: list[tuple[Path, Path]] = []
        try:
            handed_in = self._entries_of(student)
            for entry in handed_in.notebooks:
                if entry.name in outputs:
                    index = indices[entry.name]
                    notebook = self._rewritten(entry, folder, outputs[entry.name], index)
                    ready.append(self._ready(folder, f"{entry.name}.ipynb", _text_of(notebook)))
                    last = records.last_of(folder, entry.name)
                    record = records.following(last, entry.name, notebook, records.when_in(folder))
                    ready.append(self._ready(folder, *record))
            self._enter_penalties(handed_in, outputs)
            for name, index in indices.items():  # last: what they say is then true
                ready.append(self._ready(folder, observations.index_path(name), index.content))
            self.session.commit()
            while ready:
                os.replace(*ready[0])
                ready.pop(0)
        except Exception as error:
            raise _refusal(error) from None
        finally:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                self.session.rollback()
            self.session.expunge_all()
            for path, _ in ready:
                path.unlink(missing_ok=True)

    def _entries_of(self, student: str) -> SubmittedAssignment:
        """What the gradebook holds of a submission, read at once: three queries, and none for each grade.

        Raises NotRecorded where it holds nothing.
        """
        found = (
            self.session.query(SubmittedAssignment)
            .join(SubmittedAssignment.assignment)
            .filter(Assignment.name == self.assignment, SubmittedAssignment.student_id == student)
            .options(
                contains_eager(SubmittedAssignment.assignment),
                joinedload(SubmittedAssignment.student),
                selectinload(SubmittedAssignment.notebooks).options(
                    joinedload(SubmittedNotebook.notebook),
                    selectinload(SubmittedNotebook.grades).joinedload(Grade.cell),
                ),
            )
            .one_or_none()
        )
        if found is None:
            raise NotRecorded(f"The gradebook knows no submission of {student!r}.")
        return found

    def _rewritten(
        self,
        entry: SubmittedNotebook,
        folder: Path,
        outputs: Mapping[str, list[dict[str, Any]]],
        index: observations.Index,
    ) -> dict[str, Any]:
        """A graded notebook, as it lies in a file, with other outputs in some of its cells.

        The points of these cells are entered.
        """
        notebook = json.loads((folder / f"{entry.name}.ipynb").read_text(encoding="utf-8"))
        places = {
            cell["metadata"]["nbgrader"]["grade_id"]: place
            for place, cell in enumerate(notebook["cells"])
            if cell["metadata"].get("nbgrader", {}).get("grade")
        }
        changed = [from_dict(notebook["cells"][places[name]]) for name in outputs]
        for name, cell in zip(outputs, changed, strict=True):
            cell.outputs = [from_dict(one) for one in outputs[name]]
            for one in cell.outputs:
                if one.output_type == "execute_result":
                    one.execution_count = cell.execution_count
            cell.metadata.nbgrader.points = self.release[entry.name].cells[name].points
        steps = from_dict({**notebook, "cells": changed})
        shown = self._through(self._steps[1], steps, str(entry.student.id), entry.name, folder)
        for cell, one in zip(changed, shown.cells, strict=True):
            cell.outputs = one.outputs
        self._enter_grades(entry, changed, index.suspects)
        lying = _as_in_a_file(from_dict({**notebook, "cells": changed}))
        for name, cell in zip(outputs, lying["cells"], strict=True):
            notebook["cells"][places[name]] = cell
        return notebook

    def _ready(self, folder: Path, name: str, content: bytes) -> tuple[Path, Path]:
        """A file that is written beside the one whose place it takes, with the permissions of that."""
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        beside = path.with_name(f"{_BUILDING}{secrets.token_hex(4)}")
        beside.write_bytes(content)
        beside.chmod(int(str(self.converter.permissions), 8))
        return beside, path

    def _give_permissions(self, building: Path) -> None:
        """Give a submission's files and folders the permissions that nbgrader gives them."""
        permissions = int(str(self.converter.permissions), 8)
        for place, _, names in os.walk(building):
            for name in names:
                os.chmod(os.path.join(place, name), permissions)
        if self.directory.groupshared:
            top = self._path(self.directory.autograded_directory, ".").parent
            for place in (*(one for one, _, _ in os.walk(building)), building.parent, top):
                with contextlib.suppress(PermissionError):  # somebody else's
                    os.chmod(place, (os.stat(place).st_mode | 0o2770) & 0o2777)

    def clean_up(self) -> None:
        """Remove what a run that was killed left half-built."""
        parent = str(self._path(self.directory.autograded_directory, _ANYBODY).parent)
        pattern = glob.escape(parent).replace(_ANYBODY, "*")
        for folder in glob.glob(os.path.join(pattern, f"{_BUILDING}*")):
            _remove(Path(folder))


def released_in(gradebook: Gradebook, directory: CourseDirectory, assignment: str) -> dict[str, Release]:
    """The notebooks of an assignment by name, as the gradebook knows them; none where it knows none."""
    try:
        found = gradebook.find_assignment(assignment)
    except MissingEntry:
        return {}
    folder = Path(directory.root, directory.format_path(directory.release_directory, ".", assignment))
    return {one.name: _release_of(one, _cells_in(folder / f"{one.name}.ipynb")) for one in found.notebooks}


def misplaced(
    directory: CourseDirectory, notebooks: Collection[str], assignments: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Students who have no folder of an assignment, but its notebooks beside it, or one in other capitals.

    With each comes a sentence on what is there. assignments: all of the course.
    """
    assignment = directory.assignment_id
    anybody = directory.format_path(directory.submitted_directory, _ANYBODY, assignment)
    before, after = str(Path(directory.root, anybody)).split(_ANYBODY, 1)
    if after != os.sep + assignment:
        return
    for folder in sorted(glob.glob(f"{glob.escape(before)}*")):
        with contextlib.suppress(OSError):
            names = [] if os.path.lexists(folder + after) else sorted(os.listdir(folder))
            student = folder[len(before) :]
            for name in names:
                if name.casefold() == assignment.casefold() and name not in assignments:
                    yield student, f"The folder {shown(name)} is to be called {assignment}; rename it."
                elif name.removesuffix(".ipynb") in notebooks and name.endswith(".ipynb"):
                    yield student, f"{name} lies where the folder {assignment} belongs; move it into one."


def _may_be_a_folder(path: Path) -> bool:
    """Whether this is a folder, or cannot be looked at."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


def make_entries(handed_in: SubmittedAssignment, session: Any) -> None:
    """Give a submission entries for notebooks that were released after it was first recorded.

    nbgrader makes entries together with the submission only, and could then grade none of these.
    """
    there = {entry.notebook_id for entry in handed_in.notebooks}
    for notebook in [one for one in handed_in.assignment.notebooks if one.id not in there]:
        graded = [cell.id for cell in (*notebook.grade_cells, *notebook.task_cells)]
        answers = [cell.id for cell in (*notebook.solution_cells, *notebook.task_cells)]
        with session.no_autoflush:  # it is built piece by piece
            entry = SubmittedNotebook(notebook=notebook, assignment=handed_in)
            session.add(entry)
            session.add_all(Grade(cell_id=cell, notebook=entry) for cell in graded)
            session.add_all(Comment(cell_id=cell, notebook=entry) for cell in answers)
        session.flush()


def source_files(converter: Autograde) -> list[tuple[Path, str]]:
    """The files beside the released notebooks, which stand in for what a student may have changed."""
    directory = converter.coursedir
    folder = Path(
        directory.root, directory.format_path(directory.source_directory, ".", directory.assignment_id)
    )
    excluded = {str(folder / name) for name in converter.exclude_overwriting.get(directory.assignment_id, [])}
    ignored = [*directory.ignore, "*.ipynb"]
    files = [path for path in utils.find_all_files(str(folder), ignored) if path not in excluded]
    return [(Path(path), os.path.relpath(path, folder)) for path in files]


def _cells_in(path: Path) -> list[dict[str, Any]]:
    """The cells of a released notebook; none where it no longer lies in the course."""
    with contextlib.suppress(OSError, Unreadable):
        return submission.read(path).notebook["cells"]
    return []


def completed(notebook: dict[str, Any]) -> Any:
    """An executed notebook as nbformat's node, with the language that a kernel would have put into it."""
    node = from_dict(notebook)
    node.metadata.setdefault("language_info", from_dict(LANGUAGE))
    return node


def _as_in_a_file(node: Any) -> dict[str, Any]:
    """A notebook of nbformat's with texts in lines, as in a file."""
    return strip_transient(split_lines(node))


def _text_of(notebook: Mapping[str, Any]) -> bytes:
    """The text that nbformat gives a notebook that is as in a file; its writer would copy all of it first."""
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True, separators=(",", ": "))
    return f"{text}\n".encode()


def _release_of(notebook: Any, lying: Sequence[Mapping[str, Any]]) -> Release:
    """lying: the cells of the released notebook, whose order and ids the gradebook does not know."""
    points = {cell.name: cell.max_score for cell in (*notebook.grade_cells, *notebook.task_cells)}
    graded = {cell.name for cell in notebook.grade_cells}
    solutions = {cell.name for cell in notebook.solution_cells}
    tasks = {cell.name for cell in notebook.task_cells}
    named = [(cell["metadata"].get("nbgrader", {}).get("grade_id"), cell) for cell in lying]
    given = {name: cell for name, cell in named if name}
    order = {name: place for place, name in enumerate(given)}
    cells = {
        cell.name: ReleasedCell(
            name=cell.name,
            kind=cell.cell_type,
            locked=cell.locked,
            source=cell.source,
            checksum=cell.checksum,
            grade=cell.name in graded,
            solution=cell.name in solutions,
            task=cell.name in tasks,
            points=points.get(cell.name),
            id=given[cell.name]["id"] if cell.name in given else None,
            given=given[cell.name]["source"] if cell.name in given else None,
        )
        for cell in sorted(notebook.source_cells, key=lambda one: order.get(one.name, len(order)))
    }
    return Release(
        cells,
        json.loads(notebook.kernelspec) if notebook.kernelspec else None,
        frozenset(cell["source"] for cell in lying if cell["cell_type"] == "markdown"),
        frozenset(plain(cell["source"]) for name, cell in named if not name),
        asked_for(cells, lying),
    )


def _remove(folder: Path) -> None:
    """Remove a folder of ours, read-only files in it included; nothing happens where there is none."""
    for place, names, _ in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                os.chmod(os.path.join(place, name), stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)


def _refusal(error: Exception) -> CannotRecord | NotRecorded:
    """Whether the gradebook and the disk refuse everything, or only this submission."""
    if isinstance(error, CannotRecord | NotRecorded):
        return error
    if isinstance(error, OSError) and error.errno not in _ITS_OWN_FAULT:
        return CannotRecord(_about(error))
    its_own = (sqlalchemy.exc.DataError, sqlalchemy.exc.IntegrityError)
    if isinstance(error, sqlalchemy.exc.SQLAlchemyError) and not isinstance(error, its_own):
        return CannotRecord(_about(error))
    text = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
    return NotRecorded(f"It cannot be recorded ({type(error).__name__}: {text}).")


def _imported(listed: Iterable[Any]) -> list[Any]:
    return [import_item(one) if isinstance(one, str) else one for one in listed]


def _is_ours(step: Any) -> bool:
    """Whether the sandbox, or what belongs to it, takes the place of a preprocessor."""
    runs_code = isinstance(step, type) and issubclass(step, ExecutePreprocessor)
    return runs_code or getattr(step, "part_of_graders", False)


def _about_own(what: str, error: Exception) -> str:
    """A sentence on what the configuration adds, which failed."""
    text = " ".join(str(error).split())[:300]
    said = f"{what} of nbgrader_config.py failed ({type(error).__name__}: {text})."
    if "database is locked" in text:
        said += " A submission is being recorded then; only `nbgrader autograde` lets others write meanwhile."
    return said


def _about_configuration(error: Exception) -> str:
    """A sentence on a setting that cannot be used."""
    if isinstance(error, Unconfigured):
        return str(error)
    return f"nbgrader_config.py cannot be used: {' '.join(str(error).split())[:300].rstrip('.')}."


def _about(error: Exception) -> str:
    """A sentence on what the disk or the database refused, and what to do."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "The disk is full. Make room and run the same command again; it goes on where it stopped."
        place = str(error.filename or "A file").partition(f"/{_BUILDING}")[0]
        return f"{place} cannot be written ({error.strerror or error}). Mend that and run the command again."
    text = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
    if "readonly" in text or "unable to open" in text:
        return (
            f"The gradebook cannot be opened or written ({text}). Allow this account to write it and the "
            "folder in which it lies, and run the same command again."
        )
    if "locked" in text or "busy" in text:
        return "The gradebook is locked by another program. Close it and run the same command again."
    if "full" in text:
        return "The disk is full. Make room and run the same command again; it goes on where it stopped."
    return (
        f"The gradebook cannot be used ({text}). `nbgrader db upgrade` helps where nbgrader is newer than it."
    )
