"""The student's side: exercises, their cases and probes, and the process that runs a submission.

All that a student's process may hold stands here, and the sandbox mounts this folder and nothing else of the
package. No answer is known here, and nothing of `graders.judging` is imported.
"""
