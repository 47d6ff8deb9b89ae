"""Draws what the evaluation and the audit computed, and scans; nothing is computed here.

Each diagram is a pair: `plot_<name>(ax, ...)` puts computed arrays on the axes it is given, and
`draw_<name>(...)` returns one SVG element, the same bytes for the same input. Text stays text, so
that it can be read aloud and searched; colours are CSS variables with a fallback, so that a page
can recolour them for a dark screen. The palette is that of Okabe and Ito (2008), which people who
do not see red and green apart can tell apart. Pictures of scans are PNG files.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
