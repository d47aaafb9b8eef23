"""nbgrader's commands work from this folder: solutions/ is its source, exercises/ its release."""

c = get_config()  # noqa: F821 (given by nbgrader)

c.CourseDirectory.course_id = "normalization-and-momentum"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

# What the grader keeps beside a graded notebook is no part of a submission, and stays out of feedback/.
c.CourseDirectory.ignore.append(".graders")

# The released notebooks are there before the gradebook is: nbgrader would skip them, and the gradebook would
# never know them. Released anew, they are as they were, since they are only ever generated.
c.GenerateAssignment.force = True

# Released notebooks are written in the normal form that the tests demand; checksums, which
# nbgrader's last two steps compute and check, are of what is written.
c.GenerateAssignment.preprocessors.insert(-2, "graders.notebooks.NormalForm")

# What is handed in is taken in with care and runs in the sandbox, whoever starts the grading: `nbgrader
# autograde`, the Formgrader's button or `graders autograde`. The rest of the list is nbgrader's own.
c.Autograde.exporter_class = "graders.batch.seam.Intake"
c.Autograde.autograde_preprocessors = [
    "graders.batch.seam.Sandboxed",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "graders.batch.seam.Suspects",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
    "graders.batch.seam.Harmless",
]

# What a student displays must not run in the pages that show it. It is cleaned before it is written to
# autograded/; what was graded earlier, or is being graded, is cleaned where a page is made of it.
c.GenerateFeedback.preprocessors.insert(0, "graders.batch.seam.Harmless")
c.HTMLExporter.preprocessors = ["graders.batch.seam.Harmless"]

# `nbgrader validate` still runs notebooks in a kernel of its own. Importing torch on a busy machine alone
# can take longer than nbgrader's 30 seconds.
c.Execute.timeout = 120
