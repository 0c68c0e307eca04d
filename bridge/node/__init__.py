"""The wall to the aeternity node: its WebSocket (`link`) and its read-only HTTP (`chain`)."""
