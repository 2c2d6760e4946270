"""Behind the host contract: inputs, database, HTTP."""
