"""A decision record as one self-contained HTML page. Imports neither Airflow nor MLflow.

``render`` draws a page from the record and, where there is one, from the summary of the two
prediction files; both are small documents that lie beside each other, so a page can be drawn again
whenever someone asks. ``understudy.evaluation.summary.summary_of`` makes the summary; it needs
numpy, and is imported only by the gate's own process.
"""

from understudy.report.render import (
    Links,
    decision_part,
    render,
    render_or_tell,
    template_engine,
)

__all__ = ["Links", "decision_part", "render", "render_or_tell", "template_engine"]
