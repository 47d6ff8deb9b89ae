from .columns import demand_one_site as demand_one_site
from .combat import Combat as Combat
from .fitting import check_combat as check_combat
from .fitting import fit_combat as fit_combat
from .settings import HarmonisationSpec as HarmonisationSpec
