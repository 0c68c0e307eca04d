"""The wall to the keys. Used by the signer process; the bridge never imports a key."""
