from .prepared import PreparedScan as PreparedScan
from .prepared import prepare_scan as prepare_scan
from .settings import PreparationSpec as PreparationSpec
from .settings import prepared_key as prepared_key
from .store import PreparedStore as PreparedStore
from .store import bids_stem as bids_stem
from .store import write_derivative as write_derivative
from .store import write_description as write_description
