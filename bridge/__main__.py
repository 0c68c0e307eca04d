"""`python -m bridge` is `channel-bridge`."""

from bridge.app.cli import main

if __name__ == "__main__":
    main()
