"""Pictures of a plan: an HTML page to look around in, a still SVG, and both inside a notebook."""

from byoc.viz.notebook import notebook_html
from byoc.viz.overlay import Overlay, overlay_of, read_overlay
from byoc.viz.page import plan_page
from byoc.viz.svg import plan_svg

__all__ = ["Overlay", "notebook_html", "overlay_of", "plan_page", "plan_svg", "read_overlay"]
