"""What the lectures draw: matplotlib figures from tensors, no computing of the subject matter.

A module a day, and `shared` for colours, sizes and how a figure becomes a picture. Figures are made
without pyplot, so that none is kept alive or shown twice, and wrapped in a `Picture`, which a notebook
shows at its CSS size with twice the pixels. What moves is in `course/explorers`.
"""
