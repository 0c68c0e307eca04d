"""The wall to the disk: state, inbox and outbox, committed together."""
