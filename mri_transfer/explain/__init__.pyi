from .explanation import Explanation as Explanation
from .explanation import read_explanation as read_explanation
from .explanation import write_explanation as write_explanation
from .spec import ExplanationSpec as ExplanationSpec
