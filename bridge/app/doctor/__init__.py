"""`channel-bridge doctor`: looks at a deployment from where the bridge stands, and says what to type."""
