"""What a step's exit status tells the scheduler."""

REFUSED = 65
"""The step refused its input or its result (a ContractError): trying again would refuse again. EX_DATAERR of sysexits."""
