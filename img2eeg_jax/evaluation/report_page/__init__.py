"""`report.html`: an evaluation as one page that needs no other file and no network."""

from img2eeg_jax.evaluation.report_page.page import write_report

__all__ = ["write_report"]
