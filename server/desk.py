"""The desk process: venue keys, engine, worker, guard and journal are put together here.

It must stay true that nothing reachable from this module imports MCP or a web framework: the guard shares the
process with no tool call and parses no HTTP from outside. An import contract checks it.
"""
