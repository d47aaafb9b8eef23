"""What the lectures draw: matplotlib figures from tensors, no computing of the subject matter.

A module a day, and `shared` for colours, sizes and how a figure becomes a picture. Figures are made
without pyplot, so that none is kept alive or shown twice. A figure that moves is a drawing: it makes
its artists once, and `update` only sets their data. A figure that stands still is wrapped in a
`Picture`, which a notebook shows at its CSS size with twice the pixels.
"""
