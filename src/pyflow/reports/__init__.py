"""Readings of a plan or a run, for people and for other programs: pictures, summaries, JUnit's XML."""

from pyflow.reports.graph_text import plan_dot, plan_mermaid, plan_text
from pyflow.reports.junit import junit
from pyflow.reports.plan_svg import plan_svg
from pyflow.reports.summary import summary, tell
from pyflow.reports.timeline import timeline, timeline_svg

__all__ = [
    "junit",
    "plan_dot",
    "plan_mermaid",
    "plan_svg",
    "plan_text",
    "summary",
    "tell",
    "timeline",
    "timeline_svg",
]
