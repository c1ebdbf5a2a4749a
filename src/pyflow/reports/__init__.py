"""Readings of a plan or a run, for people and for other programs: pictures, pages, summaries, JUnit's XML."""

from pyflow.reports.graph_text import plan_dot, plan_mermaid, plan_text
from pyflow.reports.junit import junit
from pyflow.reports.page import html
from pyflow.reports.plan_svg import plan_svg
from pyflow.reports.progress import progress
from pyflow.reports.summary import summary, tell
from pyflow.reports.timeline import timeline, timeline_svg

__all__ = [
    "html",
    "junit",
    "plan_dot",
    "plan_mermaid",
    "plan_svg",
    "plan_text",
    "progress",
    "summary",
    "tell",
    "timeline",
    "timeline_svg",
]
