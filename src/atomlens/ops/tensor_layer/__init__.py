"""The messages of DTNN's factorised tensor layer, with distance factors per pair or from a table."""

from atomlens.ops.tensor_layer.fixed_senders import tabulated_senders
from atomlens.ops.tensor_layer.messages import MessageStep, PairLookup, table_messages
from atomlens.ops.tensor_layer.reference import messages

__all__ = ["MessageStep", "PairLookup", "messages", "table_messages", "tabulated_senders"]
