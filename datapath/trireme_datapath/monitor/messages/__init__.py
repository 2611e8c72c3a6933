"""The messages of the datapath and of the agent, one module per kind.

A module holds the message, its decoder and its forms. Decoders are total: any bytes are a message
or one `MessageError`. Forms are text; nothing is printed.
"""
