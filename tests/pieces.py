"""How `make test` is shared out: to how many processes, which tests stay together, and which begin first.

Under `pytest -n 2 --dist loadscope --no-loadscope-reorder` a file is one piece of work, so that what its
tests share (a graded course, a kernel, a browser) is made once and the cells of a notebook run in order.
"""

import re

#: What takes longest, longest first: where these are begun early, all processes end together.
LONGEST = (
    "tests/browser",
    "tests/browser/test_lectures.py",
    "tests/test_cheats.py",
    "tests/site",
    "tests/test_batch.py",
    "tests/browser/test_display.py",
    "course/day32_small_batches_and_the_norms_that_came_after.ipynb",
    "tests/test_intake.py",
    "tests/test_many.py",
    "tests/test_class_report.py",
    "tests/test_same.py",
    "course",
    "tests/test_comments.py",
    "tests/test_nbgrader.py",
    "tests/test_regrade.py",
    "tests/test_rubric.py",
    "tests/test_jail.py",
    "tests/test_anywhere.py",
    "tests/test_closing.py",
    "tests/explorers",
    "tests/lectures",
    "tests/test_judging.py",
)
#: Files whose tests share nothing beyond their first parameter: each of its values is a piece of its own.
SPREAD = ("tests/test_judging.py", "tests/test_solutions.py")
#: Folders whose tests of one day share what is trained for its lecture: day 28's rates take four seconds.
BY_DAY = ("tests/explorers/", "tests/lectures/")
#: Folders whose files share what takes long to make: a JupyterLab, and the site.
TOGETHER = ("tests/browser", "tests/site")
#: The longest files of the browser: each is worth a JupyterLab of its own, so that none ends last.
OWN_LAB = ("tests/browser/test_lectures.py", "tests/browser/test_display.py")
#: More processes than these would wait for the longest piece, and each takes about 1 GB.
MOST = 4
#: Beyond one a core: tests wait for browsers and kernels half of the time, and another one goes on meanwhile.
MORE = 1


def workers(cores: int) -> int:
    """How many processes run the tests, beside the one that hands them out; 0: that one runs them itself."""
    return min(cores + MORE, MOST) if cores > 1 else 0


def piece(nodeid: str) -> str:
    """What a test goes with to one process: its file, its folder, its day, or its first parameter.

    "tests/test_judging.py::test_on_a_gpu[standardize-cuda]" gives "tests/test_judging.py standardize".
    """
    file, _, rest = nodeid.partition("::")
    for folder in TOGETHER:
        if file.startswith(f"{folder}/") and file not in OWN_LAB:
            return folder
    if file.startswith(BY_DAY) and (day := re.search(r"day\d\d", nodeid)):
        return f"tests of {day[0]}"
    if file in SPREAD and "[" in rest:
        return f"{file} {rest.partition('[')[2].partition('-')[0].rstrip(']')}"
    return file


def place(nodeid: str) -> int:
    """The place among the longest of what names a test's file most closely, or after them."""
    named = [path for path in LONGEST if nodeid.startswith(path)]
    return LONGEST.index(max(named, key=len)) if named else len(LONGEST)
