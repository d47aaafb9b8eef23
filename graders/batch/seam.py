"""nbgrader's own `autograde`, so that it and the Formgrader take in and run submissions as `graders` does.

In `nbgrader_config.py`::

    c.Autograde.exporter_class = "graders.batch.seam.Intake"
    c.Autograde.autograde_preprocessors = [
        "graders.batch.seam.Sandboxed", ..., "graders.batch.seam.Suspects", "graders.batch.seam.Harmless"
    ]
    c.GenerateFeedback.preprocessors.insert(0, "graders.batch.seam.Harmless")
    c.HTMLExporter.preprocessors = ["graders.batch.seam.Harmless"]
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import sqlalchemy.exc
from nbconvert.exporters import NotebookExporter
from nbformat.notebooknode import from_dict
from nbgrader import api, converters
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters.base import BaseConverter, NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import rmtree
from sqlalchemy.pool import NullPool
from traitlets import Enum, Float, Int

from graders.batch.elsewhere import compared
from graders.batch.gradebook import completed, make_entries, misplaced, released_in, source_files
from graders.batch.intake import Submission, lay, take_in, timestamp_in
from graders.batch.private import named
from graders.batch.recognition import Release
from graders.batch.submission import TIMESTAMP, apart, is_notebook, shown
from graders.classroom import observations, records

#: Seconds after which a box that nobody has used is closed; the Formgrader's server runs for days.
IDLE = 120.0
_closing: threading.Timer | None = None


class NotGraded(SystemExit):
    """One submission cannot be graded; the text says why. nbgrader would show a traceback of another kind."""


class _TakenIn(BaseConverter):
    """Where nbgrader copies and reads what is handed in, it gets what was taken in.

    It stands behind nbgrader's `Autograde` in the order of methods, whose calls of `super()` end here.
    """

    found: Submission

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        own = {name for _, name in source_files(self)}  # which nbgrader lays beside them
        kept = apart(self.found.kept | dict.fromkeys(own, b""), own)
        kept = {path: content for path, content in kept.items() if path not in own}
        lay(Path(self._format_dest(assignment_id, student_id)), kept)

    def convert_single_notebook(self, notebook_filename: str) -> None:
        if not self._sanitizing:  # it reads what the first half has written
            super().convert_single_notebook(notebook_filename)
            return
        resources = self.init_single_notebook_resources(notebook_filename)
        name = resources["nbgrader"]["notebook"]
        resources["metadata"] = {"name": name, "path": os.path.dirname(notebook_filename)}
        node = from_dict(self.found.notebooks[name])
        self.write_single_notebook(*self.exporter.from_notebook_node(node, resources=resources))


class Autograde(converters.Autograde, _TakenIn):
    """nbgrader's `Autograde` over submissions that were taken in, none of which can end the others."""

    released: Mapping[str, Release]
    #: The records of the submission that is graded now, as its last grading left them, by notebook.
    before: Mapping[str, records.Record]
    #: What was taken in of the folder that is looked at now; empty where it was graded before.
    taken_in: list[Submission]

    def digest_of(self, notebook: str) -> str:
        """What was released of a notebook, as an index says it."""
        if notebook not in self._digests:
            sources = source_files(self)
            self._digests[notebook] = observations.released(self.released[notebook], sources)
        return self._digests[notebook]

    def init_notebooks(self) -> None:
        """Look at all folders that hold something: a notebook may lie deeper, or in an archive."""
        found: dict[str, list[str]] = {}
        pattern = self._format_source(self.coursedir.assignment_id, self.coursedir.student_id)
        for folder in filter(os.path.isdir, glob.glob(pattern)):
            if set(os.listdir(folder)) - {TIMESTAMP}:
                found[folder] = glob.glob(os.path.join(folder, f"{self.coursedir.notebook_id}.ipynb"))
            else:
                self.log.warning("Nothing was handed in in '%s'", folder)
        if found:
            self.assignments, self.notebooks = found, []
        else:
            super().init_notebooks()  # it says what else might have been meant

    def convert_notebooks(self) -> None:
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as book:
            self.released = released_in(book, self.coursedir, self.coursedir.assignment_id)
            others = {one.name for one in book.assignments}
        for student, why in misplaced(self.coursedir, self.released, others):
            if fnmatch.fnmatchcase(student, self.coursedir.student_id):
                self.log.error("%s: not graded: %s", shown(student), why)
        self._beside = {name: path for path, name in source_files(self)}
        self._digests: dict[str, str] = {}
        failed: list[str] = []
        in_part: list[str] = []
        for folder, notebooks in sorted(self.assignments.items()):
            name = shown(os.path.relpath(folder, self.coursedir.root))
            try:
                if shown(folder) != folder:
                    raise NotGraded("The folder's name has characters that cannot be shown; rename it.")
                self.assignments = {folder: notebooks}
                self.taken_in = []
                super().convert_notebooks()
                in_part += [name for one in self.taken_in if one.unreadable]
            except NotGraded as problem:
                self.log.error("%s: %s", name, shown(str(problem)))
                failed.append(name)
            except NbGraderException as problem:
                if isinstance(problem.__context__, sqlalchemy.exc.OperationalError):
                    raise  # the gradebook itself; the next submission would meet it again
                failed.append(name)
        kinds = {"Not graded": failed, "Graded only in part": in_part}
        if told := [f"{kind}: {', '.join(names)}." for kind, names in kinds.items() if names]:
            said = " ".join((*told, "The log says why."))
            self.log.error(said)  # nbgrader ends without a word
            raise NbGraderException(said)

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        place = Path(self._format_dest(assignment_id, student_id))
        self.before = {one.notebook: one for one in records.records_in(place)}
        if not super().init_destination(assignment_id, student_id):
            return False
        folder = Path(self._format_source(assignment_id, student_id))
        self.found = take_in(student_id, folder, self.released, self.coursedir.ignore, self._beside)
        if not self.found.notebooks:
            why = self.found.unreadable or self.found.notes or ["It is no assignment that was released."]
            raise NotGraded(" ".join(why))
        self.taken_in.append(self.found)
        for text in (*self.found.notes, *self.found.unreadable):
            self.log.warning("%s: %s", student_id, shown(text))
        wanted = fnmatch.filter(self.found.notebooks, self.coursedir.notebook_id)
        self.notebooks = [str(folder / f"{name}.ipynb") for name in wanted]
        return True

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """Have a person asked about what is there, and not where nbgrader looks for it.

        It has given 0 for all of that by now, and takes it back for the tests and essays that are run, but
        neither for tasks nor for a notebook that came in another form.
        """
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as book:
            with contextlib.suppress(MissingEntry):  # nbgrader makes all entries of a first submission
                make_entries(book.find_submission(assignment_id, student_id), book.db)
            book.db.commit()
        super().init_assignment(assignment_id, student_id)
        folder = Path(self._format_source(assignment_id, student_id))
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as book:
            for notebook in book.find_submission(assignment_id, student_id).notebooks:
                if notebook.name in self.found.missing or (folder / f"{notebook.name}.ipynb").exists():
                    continue
                for grade in notebook.grades:
                    grade.auto_score, grade.needs_manual_grade = None, True
            book.db.commit()

    def convert_single_notebook(self, notebook_filename: str) -> None:
        try:
            super().convert_single_notebook(notebook_filename)
        except SystemExit:
            rmtree(self.writer.build_directory)  # a folder that stays would pass for a graded one
            raise


class _Directory(CourseDirectory):
    """nbgrader's places of a course, with timestamps that are read as all else is that was handed in."""

    def get_existing_timestamp(self, dest_path: str) -> datetime | None:
        with contextlib.suppress(ValueError, OverflowError):
            return timestamp_in(Path(dest_path))
        return None


class Intake(NotebookExporter):
    """The exporter of a configuration by which submissions are taken in, as `Autograde` does."""


_start = converters.Autograde.start


def _started(converter: converters.Autograde) -> None:
    """Begin as nbgrader does; where the configuration names `Intake`, as the converter of this module."""
    if type(converter) is converters.Autograde and issubclass(converter.exporter_class, Intake):
        converter.__class__ = Autograde
        converter.coursedir.__class__ = _Directory
    with _one_engine():
        _start(converter)


@contextlib.contextmanager
def _one_engine() -> Iterator[None]:
    """nbgrader opens the gradebook a dozen times for a submission, and compiles all statements anew then.

    With one engine for all of it they are compiled once; a connection still ends where its use does.
    """
    made = api.create_engine
    api.create_engine = cache(partial(made, poolclass=NullPool))
    try:
        yield
    finally:
        api.create_engine = made


# nbgrader makes its converter itself, and looks for notebooks and follows links before any step or hook of a
# configuration is asked. The name of `Intake` in a configuration is what brings this module in before that.
converters.Autograde.start = _started  # type: ignore[method-assign]


class Sandboxed(NbGraderPreprocessor):
    """Takes the place of nbgrader's `Execute`: cells run in the sandbox, checks are judged outside of it."""

    part_of_graders = True
    sandbox = Enum(
        ["auto", "bwrap", "none"], "auto", help="auto: bubblewrap. none: no wall, for code you trust."
    ).tag(config=True)
    device = Enum(["cpu", "cuda"], "cpu", help="Where checks run.").tag(config=True)
    cell_timeout = Float(60.0, min=0.01, help="Seconds of wall time for a cell.").tag(config=True)
    notebook_timeout = Float(600.0, min=0.01, help="Seconds of wall time for a notebook.").tag(config=True)
    memory = Int(2048, min=1, help="Megabytes of memory for a submission.").tag(config=True)

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        from graders.batch import submission, worker
        from graders.classroom import comments
        from graders.judging.rubric import MalformedRubric, course_folder, text_in
        from graders.sandbox.box import Unusable
        from graders.sandbox.jail import Limits, NoSandbox

        limits = Limits(memory=self.memory << 20, cell=self.cell_timeout, notebook=self.notebook_timeout)
        sandbox = "bwrap" if self.sandbox == "auto" else self.sandbox
        notes: list[str] = []
        folder = Path(resources["metadata"]["path"])
        files = submission.data_files(folder, notes)
        name = resources["nbgrader"]["notebook"]
        converter = self.parent.parent
        taken_in = converter.found if isinstance(converter, Autograde) else None
        doubtful = set(taken_in.doubtful.get(name, ())) if taken_in else set()
        asked = taken_in.asked if taken_in else {}
        if taken_in:
            files |= {path: content for path, content in taken_in.files.items() if is_notebook(path)}
        _keep_open()
        try:
            # Looked for from outside of the submission, which may hold a file of that name.
            course = course_folder(folder.resolve().parent)
            own = {"rubric": text_in(course), "comments": text_in(course, comments.FILE)}
            hidden = named(self.config, Path.cwd())
            options = worker.Options(sandbox, self.device, limits, hidden, **own)
            job = worker.pack_job({name: nb}, files, options, asked)
            answers, made = worker.graded_here(job)
        except (NoSandbox, MalformedRubric) as problem:
            # An ordinary exception would be shown with a traceback; this ends in its sentence.
            raise SystemExit(str(problem)) from None
        except Unusable as problem:
            raise NotGraded(str(problem)) from None
        finally:
            _close_when_idle()
        answer = answers["notebooks"][name]
        if taken_in:
            told, in_doubt = compared(answer["notebook"], taken_in.elsewhere[name], doubtful)
            notes += told
            doubtful |= in_doubt
        for text in (*notes, *answer["flags"], *answer["words"], *filter(None, [answer["stopped"]])):
            self.log.warning("%s: %s", resources["nbgrader"]["student"], shown(text))
        resources["nbgrader"]["behaviours"] = answer["behaviours"]
        suspects = resources["nbgrader"]["suspects"] = doubtful.union(answer["suspects"])
        if isinstance(converter, Autograde):
            index = observations.indexed(converter.digest_of(name), answer["checks"], suspects)
            made[observations.index_path(name)] = index.content
        try:
            lay(folder, made)
        except OSError as error:
            raise NotGraded(f"A file that it made cannot be written ({error.strerror}).") from None
        return completed(answer["notebook"]), resources


class Suspects(NbGraderPreprocessor):
    """Has a person look at the cells whose points are in doubt; it follows nbgrader's `SaveAutoGrades`."""

    part_of_graders = True

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        about = resources["nbgrader"]
        with Gradebook(about["db_url"]) as book:
            handed_in = book.find_submission_notebook(
                about["notebook"], about["assignment"], about["student"]
            )
            for grade in handed_in.grades:
                if grade.cell.name in about.get("suspects", ()):
                    grade.needs_manual_grade = True
            book.db.commit()
        return nb, resources


class Harmless(NbGraderPreprocessor):
    """Cleans what a notebook shows: the last step of grading, and the first of every page made of it."""

    part_of_graders = True

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        from graders.batch.display import make_harmless

        converter = getattr(self.parent, "parent", None)
        released = converter.released.values() if isinstance(converter, Autograde) else ()
        make_harmless(nb, frozenset().union(*(one.text for one in released)))
        if isinstance(converter, Autograde):
            name, folder = resources["nbgrader"]["notebook"], Path(resources["metadata"]["path"])
            last = converter.before.get(name)
            again = resources["nbgrader"].get("behaviours", {})
            lay(folder, dict([records.following(last, name, nb, records.when_in(folder), again)]))
        elif isinstance(converter, converters.GenerateFeedback):
            _make_room(converter, resources["nbgrader"])
        return nb, resources


def _make_room(converter: converters.GenerateFeedback, about: Mapping[str, str]) -> None:
    """Remove what nbgrader has copied to where the page of a notebook is to be written.

    Who hands in a page of their notebook, under the notebook's name, would be left without feedback: the copy
    may not be written to, like all that was graded.
    """
    folder = Path(converter._format_dest(about["assignment"], about["student"]))
    place = folder / f"{about['notebook']}{converter.exporter.file_extension}"
    if place.is_dir():
        rmtree(str(place))
    else:
        place.unlink(missing_ok=True)


def _keep_open() -> None:
    if _closing:
        _closing.cancel()


def _close_when_idle() -> None:
    global _closing
    from graders.batch import worker

    _closing = threading.Timer(IDLE, worker.close_boxes)
    _closing.daemon = True
    _closing.start()
