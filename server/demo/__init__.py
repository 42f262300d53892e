"""`carrydesk demo`: the whole product in numbered beats, on an embedded venue over real history."""
