from .explanation import Explanation as Explanation
from .explanation import read_explanation as read_explanation
from .explanation import write_explanation as write_explanation
from .feature_maps import FeatureMaps as FeatureMaps
from .feature_maps import read_feature_maps as read_feature_maps
from .spec import ExplanationSpec as ExplanationSpec
