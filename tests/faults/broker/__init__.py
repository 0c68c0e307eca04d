"""Trouble with RabbitMQ, on a real one: `BROKER_TROUBLES` for `python -m tests.faults`, short ones for pytest."""

from tests.faults.broker.trouble import BROKER_TROUBLES

__all__ = ["BROKER_TROUBLES"]
