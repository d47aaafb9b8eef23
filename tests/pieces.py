"""How `make test` is shared out: to how many processes, which tests stay together, and which begin first.

Under `pytest -n 2 --dist loadscope --no-loadscope-reorder` a file is one piece of work, so that what its
tests share (a graded course, a kernel, a browser) is made once and the cells of a notebook run in order.
"""

#: What takes longest, longest first: where these are begun early, all processes end together.
LONGEST = (
    "tests/browser",
    "tests/test_cheats.py",
    "tests/test_batch.py",
    "tests/test_same.py",
    "tests/test_nbgrader.py",
    "tests/test_closing.py",
    "tests/test_many.py",
    "course",
    "tests/explorers",
    "tests/lectures",
    "tests/test_judging.py",
)
#: Files whose tests share nothing beyond their first parameter: each of its values is a piece of its own.
SPREAD = ("tests/test_judging.py", "tests/test_solutions.py", "tests/explorers/test_explorers.py")
#: More processes than these would wait for the longest piece, and each takes about 1 GB.
MOST = 4


def workers(cores: int) -> int:
    """How many processes run the tests, beside the one that hands them out; 0: that one runs them itself."""
    return min(cores, MOST) if cores > 1 else 0


def piece(nodeid: str) -> str:
    """What a test goes with to one process: its file, the folder of the browser, or its first parameter.

    "tests/test_judging.py::test_on_a_gpu[standardize-cuda]" gives "tests/test_judging.py standardize".
    """
    file, _, rest = nodeid.partition("::")
    if file.startswith("tests/browser/"):
        return "tests/browser"
    if file in SPREAD and "[" in rest:
        return f"{file} {rest.partition('[')[2].partition('-')[0].rstrip(']')}"
    return file


def place(nodeid: str) -> int:
    """The place of a test's file or folder among the longest, or after them."""
    return next((place for place, path in enumerate(LONGEST) if nodeid.startswith(path)), len(LONGEST))
