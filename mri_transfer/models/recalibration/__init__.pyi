from .fitting import choose_recalibration as choose_recalibration
from .fitting import fit_recalibration as fit_recalibration
from .maps import Recalibration as Recalibration
from .maps import RecalibrationMap as RecalibrationMap
from .methods import RecalibrationMethod as RecalibrationMethod
