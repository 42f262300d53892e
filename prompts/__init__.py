"""The prompts an MCP client can offer, one Markdown file each, and their loader."""
