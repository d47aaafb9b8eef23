"""The class as a whole: what it understood, and what was handed in judged again after an exercise changed."""
