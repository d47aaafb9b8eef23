"""Runs a student's code behind a wall: a jail, a warm process in it that forks, and the protocol between.

`jail` and `box` are the trusted side, `zygote`, `runner` and `inside` what is visible in the jail, and
`protocol` is what they speak. Nothing here knows an exercise, let alone an answer.
"""
