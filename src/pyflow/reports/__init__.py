"""Readings of a plan or a run, for people and for other programs: pictures, and JUnit's XML."""

from pyflow.reports.graph_text import plan_dot, plan_mermaid
from pyflow.reports.junit import junit
from pyflow.reports.plan_svg import plan_svg
from pyflow.reports.timeline import timeline, timeline_svg

__all__ = ["junit", "plan_dot", "plan_mermaid", "plan_svg", "timeline", "timeline_svg"]
