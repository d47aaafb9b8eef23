"""Executes one notebook in a sandbox session and decides what its cells are worth.

A cell that nbgrader grades and whose locked text is `check(…)` goes to the judge: the candidates are looked
at in the sandbox, compared out here, and the output is written out here. Any other cell that carries points
runs under nbgrader's rules (an exception is no points, a number is that many, anything else all of them),
with what follows from what was really seen: text on stderr costs nothing, and a number or an end that the
student's own code made up is worth nothing or is flagged for a person.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import json
import math
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from graders.batch import bounds, elsewhere
from graders.batch.elsewhere import SKIPPED
from graders.batch.submission import is_shallow
from graders.classroom import observations
from graders.classroom.comments import NONE, Comments
from graders.classroom.records import SAME_FOR_ALL
from graders.judging.rubric import SHIPPED, Rubric
from graders.judging.verdict import MIME, Verdict
from graders.probing.process import protocol
from graders.sandbox.box import Session, Stopped, TimedOut, Unforeseen

if TYPE_CHECKING:  # the judge and PyTorch are imported where there is a check
    from graders.judging.question import Paper
    from graders.probing.exercise import Exercise
    from graders.probing.observe import Sight, Survey

#: Fields of outputs that are kept, by kind; whatever else a submission sends is dropped.
_FIELDS = {
    "stream": {"name": str, "text": str},
    "display_data": {"data": dict, "metadata": dict},
    "execute_result": {"data": dict, "metadata": dict},
    "error": {"ename": str, "evalue": str, "traceback": list},
}
#: Words that an honest notebook has no need of. Whoever writes one has done nothing yet: it is noted, and
#: costs neither points nor a person's time.
_WORDS = {
    "ctypes": "reads and writes memory past Python",
    "gc": "looks for objects that it was not given",
    "_getframe": "looks into the frames of the grader",
    "settrace": "follows the grader's code",
    "setprofile": "follows the grader's code",
    "__subclasses__": "looks for classes that it was not given",
    "__code__": "changes the code of functions",
    "getsource": "reads the library's text",
    "_dispatch_library": "changes PyTorch's operators",
    "f_back": "looks into the frames of the grader",
    "tb_frame": "looks into the frames of the grader",
    "gi_frame": "looks into the frames of the grader",
    "currentframe": "looks into the frames of the grader",
    "walk_stack": "looks into the frames of the grader",
    "_current_frames": "looks into the frames of the grader",
    "get_kernel": "reaches below PyTorch's operators",
    "_execution_engine": "uses PyTorch's engine of differentiation itself",
    "_refs": "uses PyTorch's own Python versions of operators",
    "_decomp": "uses PyTorch's own Python versions of operators",
}
#: What leads to the names of a notebook, which a test of it may use.
_BY_NAME = frozenset({"globals", "locals", "vars", "exec", "eval", "setattr", "__import__", "__builtins__"})
_BY_ATTRIBUTE = frozenset({"__globals__", "f_globals", "user_ns", "user_global_ns", "__dict__"})
_BY_IMPORT = frozenset({"__main__", "builtins", "importlib"})
#: What makes a figure set formulas: their own marks, and scales whose numbers are powers of ten.
_FORMULA = re.compile(r"\$|log")
#: Nothing tells an honest `__eq__` from one that is true of everything but reading it.
_OWN_EQUALITY = "A class defines `__eq__`, by which an assert may find its objects equal to anything."


@dataclass
class Graded:
    """What came of one notebook.

    flags: what was found, in sentences for a person, never for the student. words: what is only written, or
    lies in the place, in the same way. suspects: cells whose points a person should look at. stopped: why the
    notebook could not run to its end, if it could not. checks: for each check that was reached, what
    `graders.classroom.observations.Check` holds; seen: what was seen of the candidates, as it is kept.
    behaviours: by cell, of wrong work that nothing explains, on inputs that are the same for everybody.
    """

    flags: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    suspects: set[str] = field(default_factory=set)
    stopped: str | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)
    seen: bytes = b""
    behaviours: dict[str, dict[str, list[Any]]] = field(default_factory=dict)


def execute(
    notebook: dict[str, Any],
    session: Session,
    devices: Sequence[str] = ("cpu",),
    rubric: Rubric = SHIPPED,
    asked: Collection[str] = (),
    comments: Comments = NONE,
    seed: int | None = None,
) -> Graded:
    """Run the code cells of a notebook (as nbformat's JSON) in order; their outputs are written into it.

    asked: names of Python's own that the instructor has students define. comments: what the instructors say
    to those who made a known mistake. seed: of the inputs of checks; this process draws its own if None.
    """
    done = Graded()
    room = bounds.Outputs()
    count = 0
    students_names = _defined_by_the_student(notebook["cells"]) | _set_from_within(notebook["cells"])
    students_names -= set(asked)
    has_asserts = any(map(_is_tested, notebook["cells"]))
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = _text(cell["source"])
        cell["outputs"], cell["execution_count"] = [], None
        form = _form(cell)
        graded = bool(form.get("grade")) and not form.get("solution")
        if not graded and (not source.strip() or SKIPPED in cell["metadata"].get("tags", ())):
            continue
        count += 1
        cell["execution_count"] = count
        if not _is_locked(form):
            if len(source) > bounds.PARSED_LIMIT:
                done.words.append(f"A cell of {len(source) >> 10} KB was not looked through.")
            _look_for_words(source, done)
            if has_asserts and "__eq__" not in asked and _defines_equality(source):
                done.flags.append(_OWN_EQUALITY)
        if done.stopped:
            cell["outputs"] = [_error("Stopped", done.stopped)]
            continue
        if len(source) > bounds.SOURCE_LIMIT:
            text = f"This cell has {len(source)} characters; up to {bounds.SOURCE_LIMIT} are run."
            cell["outputs"] = [_error("TooLarge", text)]
            continue
        try:
            if graded:
                exercise = bound_exercise(source)
                if exercise:
                    cell["outputs"] = _checked(
                        exercise, session, devices, seed, (rubric, comments), count, form, done
                    )
                else:
                    cell["outputs"] = _tested(source, session, count, form, students_names, done)
            else:
                outputs, answer = session.run(source, locked=_is_locked(form))
                cell["outputs"] = [*_without_a_program(answer), *_clean(outputs, count)]
        except TimedOut as late:
            cell["outputs"] = [*_until_then(late, count), _error("CellTimeoutError", str(late))]
        except Stopped as end:
            done.stopped = str(end)
            cell["outputs"] = [*_until_then(end, count), _error("Stopped", done.stopped)]
        cell["outputs"] = room.fitted(writable(cell["outputs"]), keep=graded)
    if session.noticed:
        looks = ", ".join(sorted(session.noticed))
        done.flags.append(f"The submission looks past what it was given ({looks}).")
        done.suspects |= {str(_form(cell).get("grade_id")) for cell in notebook["cells"] if _is_tested(cell)}
    if not done.stopped:
        done.behaviours = dict(_behaviours(notebook["cells"], session, rubric))
    return done


def _is_tested(cell: Mapping[str, Any]) -> bool:
    """Whether a cell gives points by what runs in it, and not by the judge."""
    form = _form(cell)
    graded = form.get("grade") and not form.get("solution")
    return bool(graded) and not bound_exercise(_text(cell["source"]))


def libraries(notebook: dict[str, Any], files: Mapping[str, Any]) -> set[str]:
    """Those of `protocol.LIBRARIES` that a notebook names, or a module that it imports from beside it.

    One named in vain costs time, and nothing else; one that is not, the room that a submission has.
    """
    cells = [_text(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    words = frozenset().union(*map(_parts_of_names, cells))
    found, left = protocol.LIBRARIES.keys() & words, bounds.SEARCHED_LIMIT
    for name, content in files.items():
        path = PurePosixPath(name)
        imported = path.suffix == ".py" and path.stem in words
        if imported and len(content) <= min(left, bounds.PARSED_LIMIT):
            left -= len(content)
            found |= protocol.LIBRARIES.keys() & _parts_of_names(bytes(content).decode(errors="replace"))
    if "matplotlib" in found and any(map(_FORMULA.search, cells)):
        found.add("mathtext")
    return found


def bound_exercise(source: str) -> Exercise | None:
    """The exercise that a locked check cell names: `check(f)` or `check(f, g)`, and nothing else."""
    tree = _parsed(source)
    if not tree:
        return None
    body = tree.body
    if len(body) != 1 or not isinstance(body[0], ast.Expr) or not isinstance(body[0].value, ast.Call):
        return None
    call = body[0].value
    if not isinstance(call.func, ast.Name) or call.func.id != "check" or call.keywords:
        return None
    from graders.judging import catalogue

    names = [one.id for one in call.args if isinstance(one, ast.Name)]
    exercise = catalogue.exercises().get(names[-1]) if names else None
    return (
        exercise
        if exercise and tuple(names) == exercise.candidates and len(names) == len(call.args)
        else None
    )


def _checked(
    exercise: Exercise,
    session: Session,
    devices: Sequence[str],
    seed: int | None,
    known: tuple[Rubric, Comments],
    count: int,
    form: Mapping[str, Any],
    done: Graded,
) -> list[dict[str, Any]]:
    """The outputs of a check cell: the judge's verdict, in points of the cell."""
    paper, packed = _paper(exercise.name, tuple(devices), seed)
    cell = str(form.get("grade_id"))
    about = about_check(exercise, cell, paper.seed, devices)
    done.checks.append(about)
    asked_on = [question.setting.device for question in paper.questions]
    answer, sights, surveyed, payload = session.look(exercise, packed, asked_on)
    frame = observations.frame_of(cell, observations.digest_of(packed), answer, payload)
    if len(done.seen) + len(frame) <= observations.LIMIT:
        done.seen += frame
        about["seen"] = True
    if surveyed is not None and answer.get("changed"):
        names = ", ".join(str(name)[:60] for name in answer["changed"][:5])
        done.flags.append(f"{exercise.name}: what looks at it had been changed ({names}); it was put back.")
        done.suspects.add(cell)
    outputs = judged(paper, answer, sights, surveyed, known, count, form, about)
    if about.get("points", about["worth"]) < about["worth"]:
        ends = ((one.raised.type, one.raised.text) for one in sights if one.raised)
        if why := elsewhere.by_place(cell, ends, programs=bool(answer.get("programs"))):
            done.words.append(why)
            done.suspects.add(cell)
    return outputs


def about_check(exercise: Exercise, cell: str, seed: int, devices: Sequence[str]) -> dict[str, Any]:
    """What is known of a check before there is an answer: see `graders.classroom.observations.Check`."""
    from graders.judging import catalogue

    day = catalogue.day_of(exercise.name)
    return {
        "cell": cell,
        "day": day,
        "exercise": exercise.name,
        "seed": seed,
        "devices": list(devices),
        "named": [],
    }


def judged(
    paper: Paper,
    answer: Mapping[str, Any],
    sights: Sequence[Sight],
    surveyed: Survey | None,
    known: tuple[Rubric, Comments],
    count: int,
    form: Mapping[str, Any],
    about: dict[str, Any],
) -> list[dict[str, Any]]:
    """The outputs of a check cell by what came back of it; what the verdict depends on goes into `about`.

    known: what instructors have said of mistakes.
    """
    from graders.judging.judge import judge
    from graders.judging.report import as_bundle

    exercise = paper.exercise
    rubric, comments = known
    about["worth"] = float(form.get("points", exercise.points))
    about["standing"] = observations.standing(exercise.name, (), rubric, comments)
    if "missing" in answer:
        name = str(answer["missing"])[:80]
        about["outcome"] = "missing"
        return [_error("NameError", f"name '{name}' is not defined")]
    if "not_callable" in answer:
        text = f"{exercise.name} takes functions or classes, and this is {str(answer['not_callable'])[:200]}."
        verdict = Verdict(exercise.name, 0, exercise.points, "type", text)
    elif surveyed is None:
        kind, text = _named_error(answer)
        about["outcome"] = "raised"
        return [_error(kind, text)]
    else:
        verdict = comments.added_to(judge(paper, sights, surveyed, rubric))
    points = _in_points_of(form, verdict)
    data = as_bundle(verdict)
    named = (*verdict.mistakes, *verdict.carried)
    about |= {
        "named": list(named),
        "standing": observations.standing(exercise.name, named, rubric, comments),
        "points": points,
        "added": sum(one.points for one in verdict.remarks),
        "outcome": verdict.outcome,
        "mistake": verdict.mistake,
        "told": hashlib.sha256(json.dumps(data[MIME]).encode()).hexdigest(),
    }
    data["text/plain"] = f"{points:g}"
    return [_result(count, data)]


def _behaviours(
    cells: Sequence[Mapping[str, Any]], session: Session, rubric: Rubric
) -> Iterator[tuple[str, dict[str, list[Any]]]]:
    """How wrong work that no known mistake explains behaves, looked at once more.

    On inputs that are the same for everybody and in every run, so that it can be compared. No points hang on
    it, and it comes last, so that nothing is lost where the candidate does not come to an end.
    """
    for cell in cells:
        shown = [one["data"][MIME] for one in cell.get("outputs", ()) if MIME in one.get("data", {})]
        if not shown or not shown[0]["behaviour"]:
            continue
        from graders.judging.judge import judge  # there was a check, so that it is there already

        paper, packed = paper_of(shown[0]["exercise"], ("cpu",), SAME_FOR_ALL)
        try:
            _, sights, surveyed, _ = session.look(paper.exercise, packed, ["cpu"] * len(paper.questions))
        except (Stopped, TimedOut, Unforeseen):
            return
        found = judge(paper, sights, surveyed, rubric).behaviour if surveyed is not None else {}
        if found:
            yield str(_form(cell).get("grade_id")), found


def _paper(name: str, devices: tuple[str, ...], seed: int | None = None) -> tuple[Paper, tuple[Any, bytes]]:
    """The questions that all submissions in this process are asked, and their cases ready to be sent.

    Their seed is drawn for a run, or here, so that nobody can know them, and the same for everybody, so that
    what the reference and the known mistakes do with them is worked out once.
    """
    return paper_of(name, devices, _drawn(name, devices) if seed is None else seed)


@lru_cache(maxsize=64)
def _drawn(name: str, devices: tuple[str, ...]) -> int:
    return secrets.randbits(32)


@lru_cache(maxsize=64)
def paper_of(name: str, devices: tuple[str, ...], seed: int) -> tuple[Paper, tuple[Any, bytes]]:
    """The questions of an exercise from a seed, and their cases ready to be sent."""
    from graders.judging import catalogue
    from graders.judging.question import Paper, settings
    from graders.probing.process import values

    asked = [setting for device in devices for setting in settings(device)]
    paper = Paper(catalogue.find(name), catalogue.answer_of(name), asked, seed)
    cases = [(question.case.name, dict(question.case.inputs)) for question in paper.questions]
    return paper, values.pack(cases)


def _in_points_of(form: Mapping[str, Any], verdict: Verdict) -> float:
    """The verdict's points on the scale of the cell, where an instructor gave it others."""
    worth = float(form.get("points", verdict.max_points))
    if not verdict.max_points or worth == verdict.max_points:
        return float(verdict.points)
    return worth * verdict.points / verdict.max_points


def _tested(
    source: str,
    session: Session,
    count: int,
    form: Mapping[str, Any],
    students_names: set[str],
    done: Graded,
) -> list[dict[str, Any]]:
    """The outputs of an ordinary cell that carries points: nbgrader's rules give them what it is worth."""
    body, last = _split(source)
    outputs, answer = session.run_graded(source, body, last)
    kept = [*_without_a_program(answer), *_clean(outputs, count)]
    where = str(form.get("grade_id"))
    for output in kept:
        if output["output_type"] == "stream":
            output["name"] = "stdout"  # what a student's code says on stderr is no failure of the test
    if answer.get("changed"):
        names = ", ".join(str(name)[:60] for name in answer["changed"][:5])
        done.flags.append(f"{where}: what tests rely on had been changed ({names}); it was put back.")
        done.suspects.add(where)
    shadowed = sorted(students_names & _names(source) & set(dir(builtins)) - {"print"})
    if shadowed:
        done.flags.append(f"{where}: it uses {', '.join(shadowed)}, which the student defined anew.")
        done.suspects.add(where)
    if answer.get("status") != "ok":
        ended = [] if kept and kept[-1]["output_type"] == "error" else [_error(*_named_error(answer))]
        return [*map(_as_display, kept), *ended]
    if "get_ipython" in _names(source) and any(one["output_type"] == "error" for one in kept):
        return list(map(_as_display, kept))  # what a magic of the test has run failed, and it only shows that
    # An error that the student's code has shown is none of the test's, which went on.
    shown = [_as_text(output) if output["output_type"] == "error" else output for output in kept]
    others = list(map(_as_display, shown))
    value, worth = answer.get("number"), float(form.get("points", 0))
    results = [output for output in kept if output["output_type"] == "execute_result"]
    is_number = isinstance(value, str) and _number(value) is not None
    if is_number:
        results = [_result(count, {"text/plain": value})]
    points = _number(_plain(results[-1])) if results else None
    if points is None:
        is_truth = value in ("True", "False")  # which is shown as any other value that is no number
        return [*others, _as_display(_result(count, {"text/plain": value}))] if is_truth else others
    forged = None
    if answer.get("own_type") and not is_number:
        forged = "its result is an object of the student's own making that looks like a number"
    elif not math.isfinite(points) or not 0 <= points <= worth:
        forged = f"the number {points:g} is no number of points between 0 and {worth:g}"
    if forged:
        done.flags.append(f"{where}: {forged}; it counts as 0.")
        done.suspects.add(where)
        return [_error("Refused", "The value of this cell is no number of points."), *others]
    used = sorted(students_names & _made_by(last)) if is_number else []
    if used:
        done.flags.append(
            f"{where}: its points are the value of an expression with {', '.join(used)}, which the student "
            "defined."
        )
        done.suspects.add(where)
    return [*others, results[-1]]


def _defined_by_the_student(cells: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names that cells which are not locked define or assign outside of functions and classes."""
    found: set[str] = set()
    for cell in cells:
        if cell["cell_type"] == "code" and not _is_locked(_form(cell)):
            found |= _bound_in(_parsed(_plain_python(_text(cell["source"]))))
    for node in _nodes(cells, locked=True):  # what a locked cell defines itself is the instructor's
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.discard(node.id)
    return found


def _bound_in(tree: ast.Module | None) -> set[str]:
    """The names that a cell defines or assigns; those of a function's or a class's body are its own."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree.body) if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            waiting += ast.iter_child_nodes(node)
    return found


def _set_from_within(cells: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names that a student's function can set among the notebook's: by `global`, or written as text.

    Text counts only beside what leads to the notebook's names: `reduction="sum"` is a word like any other.
    """
    found: set[str] = set()
    texts: set[str] = set()
    leads_there = False
    for node in _nodes(cells, locked=False):
        if isinstance(node, ast.Global):
            found |= set(node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            texts.add(node.attr)
        leads_there = leads_there or _leads_to_the_names(node)
    return found | texts if leads_there else found


def _leads_to_the_names(node: ast.AST) -> bool:
    """Whether a notebook's names can be reached by this."""
    if isinstance(node, ast.Name):
        return node.id in _BY_NAME
    if isinstance(node, ast.Attribute):
        by_sys = node.attr == "modules" and isinstance(node.value, ast.Name) and node.value.id == "sys"
        return by_sys or node.attr in _BY_ATTRIBUTE
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in _BY_IMPORT for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (
        (node.module or "") in _BY_IMPORT
        or any(alias.name in ("modules", "_getframe") for alias in node.names)
    )


def _nodes(cells: Sequence[Mapping[str, Any]], *, locked: bool) -> Iterator[ast.AST]:
    """Every node of the code cells that are locked, or of those that are not."""
    for cell in cells:
        if cell["cell_type"] == "code" and _is_locked(_form(cell)) == locked:
            yield from _walk(_text(cell["source"]))


def _defines_equality(source: str) -> bool:
    """Whether a cell says itself what its objects are equal to."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "__eq__" for node in _walk(source))


def _look_for_words(source: str, done: Graded) -> None:
    """Note names in a student's cell that only tampering needs."""
    found = set(_parts_of_names(source))
    for node in _walk(source):
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 80:
            found |= set(node.value.replace("/", ".").split("."))
    for name in sorted(found & _WORDS.keys()):
        sentence = f"A cell has the word `{name}`, which {_WORDS[name]}; a word alone is no finding."
        if sentence not in done.words:
            done.words.append(sentence)


@lru_cache(maxsize=64)
def _parts_of_names(source: str) -> frozenset[str]:
    """The parts of what a cell imports, and its attributes."""
    found: set[str] = set()
    for node in _walk(source):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                found |= {*alias.name.split("."), *(getattr(node, "module", None) or "").split(".")}
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return frozenset(found)


def _walk(source: str) -> Iterator[ast.AST]:
    tree = _parsed(_plain_python(source))
    if tree:
        yield from ast.walk(tree)


def _parsed(source: str) -> ast.Module | None:
    """The tree of plain Python, or None; several questions are asked of every cell."""
    if len(source) > bounds.PARSED_LIMIT:
        return None
    return _kept_tree(source) if len(source) <= bounds.KEPT_LIMIT else _tree(source)


def _tree(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


_kept_tree = lru_cache(maxsize=64)(_tree)


def _names(source: str) -> set[str]:
    return {node.id for node in _walk(source) if isinstance(node, ast.Name)}


def _made_by(source: str) -> set[str]:
    """The names whose own value, or whose call, is the value of an expression."""
    found: set[str] = set()
    looked_at: list[Any] = [next((node.value for node in _walk(source) if isinstance(node, ast.Expr)), None)]
    while looked_at:
        node = looked_at.pop()
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Call):
            looked_at.append(node.func)
        elif isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Await):
            looked_at.append(node.value)
        elif isinstance(node, ast.IfExp):
            looked_at += [node.body, node.orelse]
        elif isinstance(node, ast.BoolOp):
            looked_at += node.values
        elif isinstance(node, ast.BinOp):
            looked_at += [node.left, node.right]
        elif isinstance(node, ast.UnaryOp):
            looked_at.append(node.operand)
    return found


@lru_cache(maxsize=64)
def _plain_python(source: str) -> str:
    """A cell's text with its magics written as calls."""
    if len(source) > bounds.PARSED_LIMIT or _parsed(source):
        return source
    from IPython.core.inputtransformer2 import TransformerManager  # it brings all of IPython

    try:
        return TransformerManager().transform_cell(source)
    except (SyntaxError, ValueError, RecursionError):
        return source


def _split(source: str) -> tuple[str, str]:
    """A cell as its statements, and the expression at its end whose value it shows, lines kept."""
    source = _plain_python(source)
    tree = _parsed(source)
    if not tree:
        return source, ""
    body = tree.body
    if not body or not isinstance(body[-1], ast.Expr) or source.rstrip().endswith(";"):
        return source, ""
    last = body[-1]
    lines = source.encode().splitlines(keepends=True)
    before = b"".join(lines[: last.lineno - 1]) + lines[last.lineno - 1][: last.col_offset]
    expression = ast.get_source_segment(source, last.value) or ""
    return before.decode().rstrip().rstrip(";"), f"({expression}\n)"


def _clean(outputs: Sequence[Any], count: int) -> Iterator[dict[str, Any]]:
    """The outputs that a submission sent, as nbformat wants them; what is none of them is dropped."""
    kept: list[dict[str, Any]] = []
    for output in outputs:
        if not isinstance(output, dict):
            continue
        kind = output.get("output_type")
        if kind == "clear":
            kept.clear()
            continue
        fields = _FIELDS.get(kind) if isinstance(kind, str) else None
        if fields is None or not all(isinstance(output.get(name), form) for name, form in fields.items()):
            continue
        if not is_shallow(output):
            continue
        one: dict[str, Any] = {"output_type": kind, **{name: output[name] for name in fields}}
        if kind == "stream":
            one["name"] = "stderr" if one["name"] == "stderr" else "stdout"
        if kind == "error":
            one["traceback"] = [str(line) for line in one["traceback"]]
        if "data" in one:
            one["data"] = {
                name: value if isinstance(value, str) or name.endswith("json") else str(value)
                for name, value in one["data"].items()
                if name != MIME  # only the judge gives verdicts
            }
        if kind == "execute_result":
            one["execution_count"] = count
        kept.append(one)
    yield from kept


def _as_display(output: dict[str, Any]) -> dict[str, Any]:
    """An output that nbgrader does not take for the result of the cell."""
    if output["output_type"] != "execute_result":
        return output
    return {"output_type": "display_data", "data": output["data"], "metadata": output["metadata"]}


def _until_then(end: Stopped | TimedOut, count: int) -> Iterator[dict[str, Any]]:
    """What a cell had shown before it was ended."""
    yield from map(_as_display, _clean(end.outputs, count))


def _without_a_program(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a cell shows first that has asked for another program: the library may have said nothing of it."""
    if not answer.get("programs"):
        return []
    return [{"output_type": "stream", "name": "stdout", "text": elsewhere.NO_PROGRAM}]


def _as_text(output: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": f"{output['ename']}: {output['evalue']}\n"}


def _result(count: int, data: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "execute_result", "execution_count": count, "data": data, "metadata": {}}


def _error(kind: str, text: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": kind, "evalue": text, "traceback": [f"{kind}: {text}"]}


def _named_error(answer: Mapping[str, Any]) -> tuple[str, str]:
    error = answer.get("error")
    if isinstance(error, list) and len(error) == 2 and all(isinstance(one, str) for one in error):
        return error[0][:100], error[1][:2000]
    return "Error", "The cell did not come to its end."


def writable(value: Any) -> Any:
    """JSON data whose text can be written as UTF-8, which lone surrogates cannot."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {writable(name): writable(item) for name, item in value.items()}
    return [writable(item) for item in value] if isinstance(value, list) else value


def _plain(output: Mapping[str, Any]) -> str:
    return str(output["data"].get("text/plain", ""))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)


def _form(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    form = cell.get("metadata", {}).get("nbgrader", {})
    return form if isinstance(form, Mapping) else {}


def _is_locked(form: Mapping[str, Any]) -> bool:
    if form.get("solution"):
        return False
    return bool(form.get("grade") or form.get("locked"))
