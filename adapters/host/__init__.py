"""Implementation of the host contract: inputs, database, HTTP."""
