"""The methods by name. A new one is a file beside this one and an entry here."""

from wavesim.pruning.method import Method
from wavesim.pruning.methods.sap import SAP
from wavesim.pruning.methods.structured_sap import STRUCTURED_SAP

METHODS: dict[str, Method] = {method.name: method for method in (SAP, STRUCTURED_SAP)}
