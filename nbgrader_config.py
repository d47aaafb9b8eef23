"""nbgrader's commands work from this folder: solutions/ is its source, exercises/ its release."""

c = get_config()  # noqa: F821 (given by nbgrader)

c.CourseDirectory.course_id = "normalization-and-momentum"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

# Released notebooks are written in the normal form that the tests demand; checksums, which
# nbgrader's last two steps compute and check, are of what is written.
c.GenerateAssignment.preprocessors.insert(-2, "graders.notebooks.NormalForm")

# Importing torch on a busy machine alone can take longer than nbgrader's 30 seconds.
c.Execute.timeout = 120
