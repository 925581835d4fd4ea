"""The methods by name. A new one is a file beside this one and an entry here."""

from wavesim.pruning.method import Method
from wavesim.pruning.methods.autosparse import AUTOSPARSE, AUTOSPARSE_SHUFFLED
from wavesim.pruning.methods.espn import ESPN
from wavesim.pruning.methods.granet import GRANET, GRANET_ST
from wavesim.pruning.methods.greg import GREG_1, GREG_2, STRUCTURED_GREG, STRUCTURED_GREG_2
from wavesim.pruning.methods.lottery_ticket import LOTTERY_TICKET
from wavesim.pruning.methods.one_shot import ONE_SHOT, ONE_SHOT_DENSE
from wavesim.pruning.methods.random import RANDOM, STRUCTURED_RANDOM
from wavesim.pruning.methods.sap import SAP
from wavesim.pruning.methods.structured_sap import STRUCTURED_SAP

_ALL = (
    *(SAP, STRUCTURED_SAP),
    *(LOTTERY_TICKET, ONE_SHOT, ONE_SHOT_DENSE, RANDOM, STRUCTURED_RANDOM),
    *(GRANET, GRANET_ST),
    *(GREG_1, GREG_2, STRUCTURED_GREG, STRUCTURED_GREG_2),
    *(ESPN, AUTOSPARSE, AUTOSPARSE_SHUFFLED),
)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}
