"""The student's side: the exercises of each day, their cases and probes. No answers here."""
